"""The paths of the front door that are no API of AWS."""

HEALTH_PATH = "/_local_stack/health"
CONTROL_PREFIX = "/_local_stack/faults/"
