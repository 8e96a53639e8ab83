"""What is not logged, whatever the level."""

import logging

from shared.aws.logs import logger


def test_at_debug_no_request_with_an_order_or_a_token_in_it_is_logged():
    """Lambda sets the root logger to the configured level, and botocore logs whole requests at DEBUG."""
    logger("test")
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        for name in ("botocore.endpoint", "botocore.auth", "urllib3.connectionpool", "boto3.resources"):
            assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    finally:
        root.setLevel(before)
