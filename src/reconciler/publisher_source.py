"""Whether the publisher's event source is on.

The metrics of a function count its invocations. A publisher that is not invoked has none, so no alarm on them could say
that it is off.
"""

from typing import TYPE_CHECKING, Final

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_ON: Final = frozenset({"Creating", "Enabling", "Enabled", "Updating"})


def is_off(client: "LambdaClient", mapping_id: str, logger: Logger) -> bool | None:
    """Whether the event source mapping with this id is off or deleted. None when Lambda does not say."""
    try:
        return client.get_event_source_mapping(UUID=mapping_id)["State"] not in _ON
    except client.exceptions.ResourceNotFoundException:
        return True
    except (ClientError, BotoCoreError) as error:
        logger.error("event source not read", reason=f"{type(error).__name__}: {error}")
        return None
