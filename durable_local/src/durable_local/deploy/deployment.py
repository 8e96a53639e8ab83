"""Deploys the template through CloudFormation: creates the stack or updates it."""

import contextlib
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from durable_local import clients, keys
from durable_local.deploy.packaging import BUCKET, Package
from durable_local.errors import LocalStackError
from durable_local.settings import REGION, Settings

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef


CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")
NOTICE = "Not carried out by the local stack: "
NO_CHANGE = "No updates are to be performed"
DEPLOY_TIMEOUT_SECONDS = 300
POLL_SECONDS = 0.1


def _client(settings: Settings, service: str) -> Any:
    return clients.client(settings.endpoint, keys.of(settings).credentials, service)


def deploy(settings: Settings, package: Package) -> dict[str, str]:
    """Creates or updates the stack, waits for it and returns its outputs.

    Raises LocalStackError with the first failed resource and its reason. A failed update is rolled back by
    CloudFormation: what was deployed before still runs.
    """
    try:
        return _deploy(settings, package)
    except (ClientError, BotoCoreError) as error:
        message = f"{settings.template.name} could not be deployed: {' '.join(str(error).split())}"
        raise LocalStackError(message) from error


def _deploy(settings: Settings, package: Package) -> dict[str, str]:
    cloudformation: CloudFormationClient = _client(settings, "cloudformation")
    s3 = _client(settings, "s3")
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    # The template too: in the request it may have at most 51,200 bytes.
    template_key = f"{settings.stack_name}/template.yaml"
    for key, content in {**package.archives, template_key: package.template.encode()}.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    request: dict[str, Any] = {
        "StackName": settings.stack_name,
        "TemplateURL": f"{settings.endpoint}/{BUCKET}/{template_key}",
        "Capabilities": CAPABILITIES,
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in settings.parameters.items()],
    }
    existing = _describe(cloudformation, settings.stack_name)
    if existing is None:
        cloudformation.create_stack(**request)
    elif not _update(cloudformation, request):
        return _outputs(existing)
    return _outputs(_finished(cloudformation, settings))


def _describe(cloudformation: "CloudFormationClient", name: str) -> "StackTypeDef | None":
    """The stack, if there is one to update. Deletes a stack whose creation failed."""
    try:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise
    if stack["StackStatus"] in {"ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_COMPLETE"}:
        cloudformation.delete_stack(StackName=name)
        return None
    return stack


def _update(cloudformation: "CloudFormationClient", request: dict[str, Any]) -> bool:
    """False when the template and its parameters are already deployed."""
    try:
        cloudformation.update_stack(**request)
    except ClientError as error:
        if NO_CHANGE in str(error):
            return False
        raise
    return True


def _finished(cloudformation: "CloudFormationClient", settings: Settings) -> "StackTypeDef":
    deadline = time.monotonic() + DEPLOY_TIMEOUT_SECONDS
    while True:
        stack = cloudformation.describe_stacks(StackName=settings.stack_name)["Stacks"][0]
        status = stack["StackStatus"]
        if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            return stack
        if not status.endswith("_IN_PROGRESS"):
            raise LocalStackError(_failure(cloudformation, settings, status))
        if time.monotonic() > deadline:
            message = f"{settings.template.name} was not deployed within {DEPLOY_TIMEOUT_SECONDS} s ({status})"
            raise LocalStackError(message)
        time.sleep(POLL_SECONDS)


def _failure(cloudformation: "CloudFormationClient", settings: Settings, status: str) -> str:
    """The first failure of the latest deployment: later ones are its consequences."""
    reason = status
    for event in cloudformation.describe_stack_events(StackName=settings.stack_name)["StackEvents"]:
        name, state = event["LogicalResourceId"], event["ResourceStatus"]
        if state.endswith("_FAILED"):
            reason = f"{name} ({event['ResourceType']}): {event.get('ResourceStatusReason', state)}"
        # Events are newest first: the latest deployment began here.
        if name == settings.stack_name and state in {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"}:
            break
    return f"{settings.template.name} could not be deployed: {' '.join(reason.split())}"


def physical_names(settings: Settings, resource_type: str) -> dict[str, str]:
    """The names of the stack's resources of one type, by their logical ids."""
    cloudformation: CloudFormationClient = _client(settings, "cloudformation")
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=settings.stack_name)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == resource_type
    }


def notices(settings: Settings) -> list[str]:
    """What MiniStack ignored in the template, from the stack events: see ministack/patches/dropped_properties.py."""
    cloudformation: CloudFormationClient = _client(settings, "cloudformation")
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=settings.stack_name)
    latest: dict[str, str] = {}
    for event in (event for page in pages for event in page["StackEvents"]):
        if event["ResourceStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            # Events are newest first.
            latest.setdefault(f"{event['LogicalResourceId']} ({event['ResourceType']})", event["ResourceStatusReason"])
    return [f"{resource}: {reason}" for resource, reason in sorted(latest.items()) if reason.startswith(NOTICE)]


def _outputs(stack: "StackTypeDef") -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
