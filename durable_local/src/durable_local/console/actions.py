"""What a person can do to an execution: what it does in words, the request, and the same as a command."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Form = Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """A field of the question. `kind`: line or text."""

    name: str
    label: str
    kind: str = "line"
    value: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Action:
    """`says`: what it will do. `is_final`: whether it cannot be undone. `is_harmful`: whether it ends work
    that could have succeeded. `done`: what it did, in the past.

    `run` gets a Lambda client, the ARN and the submitted form, and raises botocore's errors. `command` gets the ARN and
    the callback's id, and returns the words after `aws lambda`.
    """

    title: str
    says: str
    done: str
    run: Callable[[Any, str, Form], Any]
    command: Callable[[str, str], list[str]]
    is_final: bool = False
    is_harmful: bool = False
    fields: tuple[Field, ...] = ()


def _reason(given: Form) -> dict[str, str]:
    return {"Reason": given["reason"]} if given.get("reason") else {}


def _error(given: Form) -> dict[str, dict[str, str]]:
    values = {"ErrorType": given.get("type", ""), "ErrorMessage": given.get("reason", "")}
    error = {name: value for name, value in values.items() if value}
    return {"Error": error} if error else {}


def _of_arn(operation: str) -> Callable[[str, str], list[str]]:
    return lambda arn, _callback: [operation, "--durable-execution-arn", arn]


def _of_callback(operation: str) -> Callable[[str, str], list[str]]:
    return lambda _arn, callback: [operation, "--callback-id", callback]


REASON = Field("reason", "Reason (optional)", hint="Lambda records it in the history.")

ACTIONS = {
    "pause": Action(
        "Pause",
        "No code of this execution runs until it is resumed. Code that runs now stops at its next checkpoint. Waits "
        "and callbacks still complete, and the execution's timeout is paused too.",
        "The pause was requested.",
        lambda client, arn, given: client.pause_durable_execution(DurableExecutionArn=arn, **_reason(given)),
        _of_arn("pause-durable-execution"),
        fields=(REASON,),
    ),
    "resume": Action(
        "Resume",
        "The execution continues from its last checkpoint.",
        "The execution was resumed.",
        lambda client, arn, given: client.resume_durable_execution(DurableExecutionArn=arn, **_reason(given)),
        _of_arn("resume-durable-execution"),
        fields=(REASON,),
    ),
    "stop": Action(
        "Stop",
        "The execution ends as STOPPED. Code that runs now is not interrupted, but its next checkpoint is refused.",
        "The execution was stopped.",
        lambda client, arn, given: client.stop_durable_execution(DurableExecutionArn=arn, **_error(given)),
        _of_arn("stop-durable-execution"),
        is_final=True,
        is_harmful=True,
        fields=(Field("type", "Error type (optional)"), Field("reason", "Reason (optional)")),
    ),
    "success": Action(
        "Send success",
        "The callback completes, and the execution continues with this result. A callback accepts one answer.",
        "The result was sent.",
        lambda client, _arn, given: client.send_durable_execution_callback_success(
            CallbackId=given.get("callback", ""), Result=given.get("result", "").encode()
        ),
        lambda arn, callback: [
            *_of_callback("send-durable-execution-callback-success")(arn, callback),
            "--cli-binary-format",
            "raw-in-base64-out",
            "--result",
            "{}",
        ],
        is_final=True,
        fields=(Field("result", "Result", "text", "{}", "Usually JSON: the function decides how it is read."),),
    ),
    "failure": Action(
        "Send failure",
        "The callback fails, and the execution gets this error. A callback accepts one answer.",
        "The failure was sent.",
        lambda client, _arn, given: client.send_durable_execution_callback_failure(
            CallbackId=given.get("callback", ""), **_error(given)
        ),
        lambda arn, callback: [
            *_of_callback("send-durable-execution-callback-failure")(arn, callback),
            "--error",
            json.dumps({"ErrorType": "", "ErrorMessage": ""}),
        ],
        is_final=True,
        is_harmful=True,
        fields=(Field("type", "Error type"), Field("reason", "Error message")),
    ),
    "heartbeat": Action(
        "Send heartbeat",
        "The callback's heartbeat timeout starts again. The callback stays open.",
        "The heartbeat was sent.",
        lambda client, _arn, given: client.send_durable_execution_callback_heartbeat(
            CallbackId=given.get("callback", "")
        ),
        _of_callback("send-durable-execution-callback-heartbeat"),
    ),
}


def possible(status: str) -> list[str]:
    """The names of the actions on an execution, callbacks aside, that its status allows."""
    return {"RUNNING": ["pause", "stop"], "PAUSING": ["resume", "stop"], "PAUSED": ["resume", "stop"]}.get(status, [])
