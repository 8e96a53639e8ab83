"""boto3 clients that read nothing of the user's shell."""

import os
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader

from durable_local.keys import Credentials
from durable_local.settings import REGION

# Only botocore's own models. One for all sessions, so that a process reads each model once.
_LOADER = Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


def isolated_session(**arguments: Any) -> boto3.session.Session:
    """A boto3 session that reads no environment variable and no file under `~/.aws`. `arguments`: those of boto3."""
    variables = {
        name: (config_name, None, default, convert)
        for name, (config_name, _, default, convert) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    for file in ("config_file", "credentials_file"):
        variables[file] = (None, None, os.devnull, None)
    session = botocore.session.Session(session_vars=variables)
    # botocore reads three more things in other ways: AWS_S3_*, AWS_ENDPOINT_URL* and ~/.aws/models.
    session.get_component("config_store").set_config_variable("s3", {})
    session.set_config_variable("ignore_configured_endpoint_urls", value=True)
    session.register_component("data_loader", _LOADER)
    return boto3.session.Session(botocore_session=session, **arguments)


def client(endpoint: str, credentials: Credentials, service: str, config: Config | None = None) -> Any:
    """A boto3 client for the stack. The user's profiles, files, proxies and region have no effect on it."""
    base = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 2}, proxies={})
    return isolated_session().client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        config=base.merge(config) if config else base,
    )
