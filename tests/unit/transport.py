"""boto3's own clients whose requests get responses from here instead of from AWS."""

import io
import json
from functools import cache

from botocore.awsrequest import AWSResponse
from botocore.config import Config

from durable_local.clients import isolated_session


class Body(io.BytesIO):
    """An HTTP response's body as urllib3 gives it to botocore."""

    def stream(self, **_kwargs):
        yield self.read()


class Endpoint:
    """Responds to one operation of a client; `requests` has the sent requests.

    An answer that is an exception is raised, and one that is a function is asked for the answer to the request.
    """

    def __init__(self, client, operation, *answers):
        self.requests = []
        self._answers = list(answers)
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"before-send.{service}.{operation}", self._answer)

    def _answer(self, request, **_kwargs):
        self.requests.append(request)
        # The last response is used for all further requests.
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer):
            answer = answer(request)
        if answer is None:
            return None
        if isinstance(answer, Exception):
            raise answer
        return response(request, *answer)


def response(request, status, headers, body):
    """A response as botocore reads it."""
    return AWSResponse(request.url, status, headers, Body(body))


@cache
def session():
    """One session for all tests: it reads a service's model only once, which takes longer than most tests."""
    return isolated_session(region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


def client(service, endpoint_url=None):
    """A client without retries that reaches no real service."""
    return session().client(
        service,
        endpoint_url=endpoint_url or f"https://{service}.invalid",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}, proxies={}),
    )


def refusal(status, code, message="refused"):
    """An error response of Lambda, DynamoDB or SQS."""
    return status, {"x-amzn-errortype": code}, json.dumps({"__type": code, "message": message}).encode()
