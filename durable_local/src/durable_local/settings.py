"""What a stack is told from outside, read from the environment in this one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from durable_local.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[3]
HOST = "127.0.0.1"
# Version 1 of the AWS CLI sends SQS requests past AWS_ENDPOINT_URL to AWS, in every region older than a list it
# carries (awscli/customizations/overridesslcommonname.py). This region is not on the list.
REGION = "eu-central-2"
ACCOUNT = "000000000000"

PORT_VARIABLE = "LOCAL_STACK_PORT"
PARAMETERS_VARIABLE = "LOCAL_STACK_PARAMETERS"
DEFAULT_PORT = 4566
DEFAULT_CONCURRENCY = 6
HIGHEST_PORT = 65_535
KEEP_VARIABLE = "LOCAL_STACK_KEEP"
STARTS_VARIABLE = "LOCAL_STACK_STARTS_PER_SECOND"
HIGHEST_TIME_SCALE = 1_000_000


@dataclass(frozen=True)
class Settings:
    """One stack. Its directory is named after its port, so stacks on other ports never meet.

    `concurrency` is how many invocations of durable functions run at once; the rest queue. Lambda would run a
    thousand, each with a machine of its own; here each is a process on this one.

    `keep`: what is in the stack outlives it, in `state`, and the next stack that keeps goes on from there.
    `time_scale`: how many times faster than real time the clock of durable executions runs.
    `starts_per_second`: how many executions may be started; more are throttled. None: any number.
    `faults`: whether requests can be made to fail, see `faults`.
    """

    port: int = DEFAULT_PORT
    stack_name: str = "orders"
    template: Path = REPOSITORY / "template.yaml"
    parameters: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = DEFAULT_CONCURRENCY
    home: Path = REPOSITORY / ".local"
    keep: bool = False
    time_scale: float = 1
    starts_per_second: int | None = None
    faults: bool = False
    functions_python: Path = REPOSITORY / ".venv-functions" / "bin" / "python"
    ministack_python: Path = REPOSITORY / ".venv-ministack" / "bin" / "python"

    @property
    def endpoint(self) -> str:
        """The stack's one address."""
        return f"http://{HOST}:{self.port}"

    @property
    def directory(self) -> Path:
        """Everything this stack keeps on disk: logs, its workers' code, what it needs to find itself again."""
        return self.home / str(self.port)

    @property
    def temporary(self) -> Path:
        """What MiniStack and its workers write; removed when the stack ends."""
        return self.directory / "tmp"

    @property
    def state(self) -> Path:
        """What a stack that keeps its state leaves for the next one; a stack that does not leaves it alone."""
        return self.directory / "state"

    @property
    def log(self) -> Path:
        """The front door's; MiniStack's lies beside it."""
        return self.directory / "front-door.log"

    @property
    def scripts(self) -> Path:
        """What `environment_file` puts on PATH."""
        return self.directory / "bin"

    @property
    def environment_file(self) -> Path:
        """Always the most recent `up`, whatever its port: the file that people source."""
        return self.home / "env"


def process_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of each process of the stack.

    Written out instead of inherited: the user's keys must not be where a handler can read them, and a proxy, a profile
    or a PYTHONPATH of the shell must not change what the stack does. HOME is empty so that no `~/.aws` is read.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(settings.temporary),
        "TMPDIR": str(settings.temporary),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "NO_PROXY": "*",
        "PYTHONUNBUFFERED": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings by `LOCAL_STACK_*`; raises LocalStackError that names the variable it cannot read."""
    return Settings(
        port=_integer(environment, PORT_VARIABLE, DEFAULT_PORT, highest=HIGHEST_PORT),
        stack_name=environment.get("LOCAL_STACK_NAME") or Settings.stack_name,
        template=Path(environment.get("LOCAL_STACK_TEMPLATE") or Settings.template).resolve(),
        home=Path(environment.get("LOCAL_STACK_HOME") or Settings.home).resolve(),
        concurrency=_integer(environment, "LOCAL_STACK_CONCURRENCY", DEFAULT_CONCURRENCY, highest=1000),
        parameters=_parameters(environment),
        keep=_truth(environment, KEEP_VARIABLE),
        time_scale=_integer(environment, "LOCAL_STACK_TIME_SCALE", 1, highest=HIGHEST_TIME_SCALE),
        starts_per_second=(
            _integer(environment, STARTS_VARIABLE, 0, highest=1_000_000) if environment.get(STARTS_VARIABLE) else None
        ),
    )


def _parameters(environment: Mapping[str, str]) -> dict[str, str]:
    text = environment.get(PARAMETERS_VARIABLE) or ""
    parameters: dict[str, str] = {}
    for setting in text.split():
        name, equals, value = setting.partition("=")
        if not (name and equals):
            message = f"{PARAMETERS_VARIABLE}: {setting!r} is not of the form Name=value"
            raise LocalStackError(message)
        parameters[name] = value
    return parameters


def _truth(environment: Mapping[str, str], variable: str) -> bool:
    text = environment.get(variable) or "0"
    if text in {"0", "1"}:
        return text == "1"
    message = f"{variable}={text!r} is neither 1 nor 0"
    raise LocalStackError(message)


def _integer(environment: Mapping[str, str], variable: str, default: int, highest: int) -> int:
    text = environment.get(variable) or str(default)
    if text.isdecimal() and 1 <= int(text) <= highest:
        return int(text)
    message = f"{variable}={text!r} is not a whole number from 1 to {highest}"
    raise LocalStackError(message)


def of_stack(settings: Settings, template: Path | None, stack_name: str | None) -> Settings:
    """The same, for another template or under another name.

    Raises LocalStackError for another template without a name: it would take the place of the stack that has the
    default one.
    """
    if template is not None and not stack_name:
        message = f"{template} needs a stack name of its own: STACK=name (--stack)"
        raise LocalStackError(message)
    return replace(
        settings,
        template=settings.template if template is None else template.resolve(),
        stack_name=stack_name or settings.stack_name,
    )
