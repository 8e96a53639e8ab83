"""Settings every AWS client here is built with: short timeouts, and one place that tries again."""

from typing import Final

from botocore.config import Config
from botocore.exceptions import ClientError

CONNECT_TIMEOUT_S: Final = 1


def client_config(read_timeout_s: float, tries: int = 1, connections: int = 10) -> Config:
    """A client that waits `read_timeout_s` for an answer, `tries` times at most.

    The default is one try: where a step's policy tries again, a client that does too would multiply both.
    `connections` is the pool's size, to be that of the threads that share the client.
    """
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": tries},
        max_pool_connections=connections,
    )


def may_pass(error: ClientError) -> bool:
    """Whether Lambda's refusal of an Invoke may pass by itself: throttled, failed, or a function not ready yet.

    408 and 409 are Lambda's for a function that is being created, updated or restored (`Invoke`, API reference).
    """
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in {408, 409, 429} or status >= 500
