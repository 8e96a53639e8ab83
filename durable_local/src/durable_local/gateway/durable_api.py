"""The durable execution API (`/2025-12-01/...`) over the runner, as boto3 and the durable SDK call it."""

import asyncio
import base64
import json
import re
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from aiohttp import web
from aws_durable_execution_sdk_python.lambda_service import OperationStatus
from aws_durable_execution_sdk_python_testing.exceptions import IllegalStateException, UnknownRouteError
from aws_durable_execution_sdk_python_testing.token import CallbackToken
from aws_durable_execution_sdk_python_testing.web import handlers, routes
from aws_durable_execution_sdk_python_testing.web.models import HTTPRequest, HTTPResponse
from aws_durable_execution_sdk_python_testing.web.serialization import JSONSerializer

from durable_local.errors import ApiError, invalid_parameter, not_found
from durable_local.function_reference import FunctionReference
from durable_local.gateway import history
from durable_local.gateway.front_door import NextStep
from durable_local.gateway.incoming import Incoming
from durable_local.runner.pause import Pause
from durable_local.runner.record import ExecutionRecord
from durable_local.runner.runner import DurableRunner
from durable_local.runner.store import Selection, Store, place_of

PREFIX = "/2025-12-01/"
EXECUTION_ARN = re.compile(
    r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:function:[a-zA-Z0-9_-]+:(?:\$LATEST(?:\.PUBLISHED)?|[0-9]+)"
    r"/durable-execution/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+"
)
STATUSES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "PAUSING", "PAUSED", "DELETING")
# Operations that the runner's router does not know.
MANAGEMENT_PATH = re.compile(r"/2025-12-01/durable-executions/([^/]+)(?:/(pause|resume))?")
CLIENT_TOKEN = re.compile(r"[\x21-\x7e]{1,64}")
MAX_REASON_CHARACTERS = 1024
MAX_PAGE_ITEMS = 1000
DEFAULT_PAGE_ITEMS = 100

Query = dict[str, list[str]]
Versions = frozenset[str] | None


class DurableApi:
    """Answers the requests below `PREFIX`.

    `versions`: the versions that a function's qualifier means now, None for all; raises ApiError (404).
    """

    def __init__(
        self, runner: DurableRunner, store: Store, versions: Callable[[FunctionReference], Versions], threads: Executor
    ) -> None:
        self._threads = threads
        self._store = store
        self._versions = versions
        self._runner = runner
        self._router = routes.Router()
        self._handlers: dict[type[routes.Route], handlers.EndpointHandler] = {
            routes.CheckpointDurableExecutionRoute: handlers.CheckpointDurableExecutionHandler(runner),
            routes.StopDurableExecutionRoute: handlers.StopDurableExecutionHandler(runner),
            routes.GetDurableExecutionRoute: handlers.GetDurableExecutionHandler(runner),
            routes.GetDurableExecutionStateRoute: handlers.GetDurableExecutionStateHandler(runner),
            routes.CallbackSuccessRoute: handlers.SendDurableExecutionCallbackSuccessHandler(runner),
            routes.CallbackFailureRoute: handlers.SendDurableExecutionCallbackFailureHandler(runner),
            routes.CallbackHeartbeatRoute: handlers.SendDurableExecutionCallbackHeartbeatHandler(runner),
        }

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:
        """Raises ApiError for what Lambda refuses."""
        if not request.path.startswith(PREFIX):
            return await next_step(request)
        body, loop = await request.body(), asyncio.get_running_loop()
        # A checkpoint blocks: it waits for the lane of its execution.
        return await loop.run_in_executor(
            self._threads, self._answer, request.method, request.path, request.query, body
        )

    def _answer(self, method: str, path: str, query_text: str, body: bytes) -> web.Response:
        query = parse_qs(query_text)
        managed = MANAGEMENT_PATH.fullmatch(path)
        if managed and (method, managed[2]) in {("POST", "pause"), ("POST", "resume"), ("DELETE", None)}:
            return self._manage(unquote(managed[1]), managed[2], body)
        try:
            route = self._router.find_route(path, method)
        except UnknownRouteError:
            raise _unknown(method, path) from None
        if isinstance(route, routes.ListDurableExecutionsByFunctionRoute):
            return _json(self._list(route.function_name, query))
        execution = self._execution_of(route)
        if execution is not None and isinstance(route, routes.GetDurableExecutionHistoryRoute):
            return _json(self._history(execution, query))
        if (error := self._callback_error(route)) is not None:
            raise error
        handler = self._handlers.get(type(route))
        if handler is None:
            raise _unknown(method, path)
        response = handler.handle(route, _request(route, method, query, body))
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise self._callback_error(route) or _api_error(response)
        if execution is not None and isinstance(route, routes.GetDurableExecutionRoute):
            self._complete_details(response.body, execution, query)
        return _json(response.body)

    def _execution_of(self, route: routes.Route) -> ExecutionRecord | None:
        arn = getattr(route, "arn", None)
        return None if arn is None else self._execution(arn)

    def _execution(self, arn: str) -> ExecutionRecord:
        if not EXECUTION_ARN.fullmatch(arn):
            raise invalid_parameter(f"Invalid durable execution ARN: {arn}")
        try:
            return self._store.load(arn)
        except KeyError:
            raise not_found(f"Durable execution not found: {arn}") from None

    def _manage(self, arn: str, verb: str | None, body: bytes) -> web.Response:
        """PauseDurableExecution, ResumeDurableExecution or, without a verb, DeleteDurableExecution: all answer 202."""
        self._execution(arn)
        if verb is None:
            return _json({"DeletionRequestTimestamp": self._runner.delete(arn)}, HTTPStatus.ACCEPTED)
        request = _object(body)
        token, reason = request.get("ClientToken"), request.get("Reason")
        if token is not None and not CLIENT_TOKEN.fullmatch(str(token)):
            raise invalid_parameter(f"ClientToken must be 1 to 64 printable characters; it was {token!r}.")
        if reason is not None and len(str(reason)) > MAX_REASON_CHARACTERS:
            raise invalid_parameter(f"Reason may have {MAX_REASON_CHARACTERS} characters.")
        if verb == "pause":
            timeout_paused = request.get("ExecutionTimeoutPaused") is not False
            self._runner.pause(arn, Pause(self._runner.now(), timeout_paused, reason, token))
        else:
            self._runner.end_pause(arn, token, reason)
        return _json({}, HTTPStatus.ACCEPTED)

    def _history(self, record: ExecutionRecord, query: Query) -> dict[str, Any]:
        return history.page(
            self._runner,
            record,
            _one(query, "Marker"),
            _page_size(query),
            with_data=_one(query, "IncludeExecutionData") != "false",
            newest_first=_one(query, "ReverseOrder") == "true",
        )

    def _callback_error(self, route: routes.Route) -> ApiError | None:
        """Why a callback is refused; None if it is not, or if the request is about something else.

        The runner answers every failure with ResourceNotFoundException. In Lambda's model, a callback that was
        completed or timed out is CallbackTimeoutException.
        """
        callback_id = getattr(route, "callback_id", None)
        if callback_id is None:
            return None
        try:
            token = CallbackToken.from_str(callback_id)
        except (ValueError, KeyError, TypeError):
            return invalid_parameter("The callback ID is not valid.")
        try:
            record = self._store.load(token.execution_arn)
            _, operation = record.find_callback_operation(callback_id)
        except (KeyError, IllegalStateException):
            return not_found("The callback does not exist.")
        if operation.status is OperationStatus.STARTED and not record.is_complete:
            return None
        return ApiError("CallbackTimeoutException", "The callback has expired or has already been completed.")

    def _complete_details(self, body: dict[str, Any], record: ExecutionRecord, query: Query) -> None:
        """Adds the fields of Lambda's GetDurableExecution that the runner does not have."""
        started = record.start_input
        body["DurableConfig"] = {
            "ExecutionTimeout": started.execution_timeout_seconds,
            "RetentionPeriodInDays": started.execution_retention_period_days,
        }
        body["Status"] = record.status
        if (pause := record.pause_under_way) is not None and not record.is_complete:
            body["PauseDetails"] = {
                "PauseRequestTimestamp": pause.requested,
                "ExecutionTimeoutPaused": pause.timeout_paused,
                **({"Reason": pause.reason} if pause.reason is not None else {}),
            }
        if not record.is_complete:
            body["ExpectedExecutionTimeoutTimestamp"] = self._runner.deadline(record)
        body["ExecutionDataIncluded"] = _one(query, "IncludeExecutionData") != "false"
        if not body["ExecutionDataIncluded"]:
            for field in ("InputPayload", "Result", "Error"):
                body.pop(field, None)
            body.get("PauseDetails", {}).pop("Reason", None)

    def _list(self, function: str, query: Query) -> dict[str, Any]:
        """ListDurableExecutionsByFunction.

        The runner's own operation filters by one status only, reads no dates of boto3, ignores the qualifier and
        unknown functions, and returns the oldest first. Lambda returns the newest first.

        An execution has a version and no alias, so an alias in `Qualifier` means the versions that it has now. That
        is our reading of "the function version to filter executions by": its pattern allows an alias.
        """
        reference = FunctionReference.parse(function, _one(query, "Qualifier"))
        selection = _selection(reference.name, self._versions(reference), query)
        oldest_first = _one(query, "ReverseOrder") == "true"
        size = _page_size(query)
        marker = _one(query, "Marker")
        beyond = _decode_marker(marker) if marker else None
        executions = self._store.select(selection, size + 1, oldest_first=oldest_first, beyond=beyond)
        page = executions[:size]
        answer: dict[str, Any] = {"DurableExecutions": [execution.to_dict() for execution in page]}
        if len(executions) > size:
            answer["NextMarker"] = _encode_marker(place_of(page[-1]))
        return answer


def _request(route: routes.Route, method: str, query: Query, body: bytes) -> HTTPRequest:
    if isinstance(route, routes.StopDurableExecutionRoute) and body:
        # In Lambda's model the body is the error. The runner expects the error in a field of the body.
        body = b'{"Error":' + body + b"}"
    if isinstance(route, routes.BytesPayloadRoute):
        return HTTPRequest.from_raw_bytes(body, method, route, {}, query)
    try:
        return HTTPRequest.from_bytes(body, None, method, route, {}, query)
    except Exception as error:
        message = f"Could not parse request body into json: {error}"
        raise ApiError("InvalidRequestContentException", message) from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except ValueError as error:
        message = f"Could not parse request body into json: {error}"
        raise ApiError("InvalidRequestContentException", message) from error
    if not isinstance(content, dict):
        raise ApiError("InvalidRequestContentException", "The request body is not an object.")
    return content


def _json(content: Any, status: int = HTTPStatus.OK) -> web.Response:
    return web.Response(status=status, body=JSONSerializer().to_bytes(content), content_type="application/json")


def _api_error(response: HTTPResponse) -> ApiError:
    """The runner's answer as an error. Its `Type` is the code that Lambda sends in a header."""
    body = response.body
    return ApiError(
        code=body.get("Type", "ServiceException"),
        message=body.get("message") or body.get("Message") or "",
        status=response.status_code,
    )


def _unknown(method: str, path: str) -> ApiError:
    return ApiError("InvalidRequestContentException", f"The local stack does not support {method} {unquote(path)}.")


def _one(query: Query, name: str) -> str | None:
    values = query.get(name)
    return values[0] if values else None


def _page_size(query: Query) -> int:
    text = _one(query, "MaxItems") or "0"
    if not text.isdecimal() or int(text) > MAX_PAGE_ITEMS:
        raise invalid_parameter(f"MaxItems must be a number from 0 to {MAX_PAGE_ITEMS}; it was {text!r}.")
    return int(text) or DEFAULT_PAGE_ITEMS


def _selection(function: str, versions: Versions, query: Query) -> Selection:
    statuses = query.get("Statuses", [])
    for status in statuses:
        if status not in STATUSES:
            raise invalid_parameter(f"Statuses must be among {', '.join(STATUSES)}; one was {status!r}.")
    return Selection(
        function,
        versions,
        _one(query, "DurableExecutionName"),
        frozenset(statuses) or None,
        _time(query, "StartedAfter"),
        _time(query, "StartedBefore"),
    )


def _time(query: Query, name: str) -> datetime | None:
    """boto3 sends ISO 8601, the runner expects seconds."""
    text = _one(query, name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_parameter(f"{name} must be a time in ISO 8601; it was {text!r}.") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _encode_marker(position: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decode_marker(marker: str) -> tuple[str, str]:
    try:
        started, arn = json.loads(base64.urlsafe_b64decode(marker))
    except ValueError:
        raise invalid_parameter("Marker is not one that this operation returned.") from None
    return str(started), str(arn)
