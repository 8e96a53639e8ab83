"""The settings of every AWS client: short timeouts, and only one layer that retries."""

from typing import Final

from botocore.config import Config
from botocore.exceptions import ClientError

CONNECT_TIMEOUT_SECONDS: Final = 1


def client_config(read_timeout_seconds: float, max_tries: int = 1, connections: int = 10) -> Config:
    """The settings of a client that waits `read_timeout_seconds` for a response, at most `max_tries` times.

    The default is one try: where a step's policy retries, retries of the client would multiply.
    `connections` is the size of the connection pool: the number of threads that share the client.
    """
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": max_tries},
        max_pool_connections=connections,
    )


def is_transient(error: ClientError) -> bool:
    """Whether an Invoke that Lambda refused can succeed later: throttled, failed, or the function is not ready yet.

    Lambda answers 408 and 409 while a function is being created, updated or restored (`Invoke`, API reference).
    """
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in {408, 409, 429} or status >= 500
