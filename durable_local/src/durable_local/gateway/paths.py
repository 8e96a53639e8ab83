"""What the front door and those before and behind it share: paths that are no API of AWS, and a request's limit."""

HEALTH_PATH = "/_local_stack/health"
CONTROL_PREFIX = "/_local_stack/faults/"
# The item of a request that holds the largest body it may have, in bytes, if that is not the usual limit.
LARGEST_BODY = "largest_body"
