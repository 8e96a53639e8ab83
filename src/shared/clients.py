"""Settings every AWS client here is built with: short timeouts, and one place that tries again."""

from typing import Final

from botocore.config import Config

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
