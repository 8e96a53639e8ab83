"""The settings of a stack. No other module reads `LOCAL_STACK_*` or `DURABLE_LOCAL_*` variables."""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable_local import ministack_environment
from durable_local.errors import LocalStackError

HOST = "127.0.0.1"
# Version 1 of the AWS CLI ignores AWS_ENDPOINT_URL for SQS in the regions that it lists in
# awscli/customizations/overridesslcommonname.py, and sends the request to AWS. This region is not listed.
REGION = "eu-central-2"
ACCOUNT = "000000000000"
HEALTH_PATH = "/_local_stack/health"
"""At this path a running stack says which it is. Here, because a command that asks needs no HTTP server."""

PORT_VARIABLE = "LOCAL_STACK_PORT"
NAME_VARIABLE = "LOCAL_STACK_NAME"
PARAMETERS_VARIABLE = "LOCAL_STACK_PARAMETERS"
DEFAULT_PORT = 4566
DEFAULT_CONCURRENCY = 6
MAX_PORT = 65_535
KEEP_VARIABLE = "LOCAL_STACK_KEEP"
STARTS_VARIABLE = "LOCAL_STACK_STARTS_PER_SECOND"
PYTHON_VARIABLE = "LOCAL_STACK_FUNCTIONS_PYTHON"
# The first one that is set counts.
HOME_VARIABLES = ("DURABLE_LOCAL_HOME", "LOCAL_STACK_HOME")
MAX_TIME_SCALE = 1_000_000


@dataclass(frozen=True)
class Settings:
    """One stack. Its directory is named after its port: stacks on different ports share no files.

    `stack_name`: the CloudFormation stack that the template is deployed as; empty: see `stack_name_of`.
    `concurrency`: the number of invocations of durable functions that run at once, each in a process; the others wait.
    `home`: the folder for the directories of all stacks.
    `keep`: the stack's contents are kept in `state`; the next stack that also keeps continues from there.
    `time_scale`: how many times faster than real time the clock of durable executions runs.
    `starts_per_second`: how many executions may start in a second; more are throttled. None: any number.
    `faults`: whether requests can be made to fail, see `faults`.
    `functions_python`: the interpreter that runs Python handlers from a folder, with the packages they need.
    """

    port: int = DEFAULT_PORT
    stack_name: str = ""
    template: Path = Path("template.yaml")
    parameters: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = DEFAULT_CONCURRENCY
    home: Path = Path(".local")
    keep: bool = False
    time_scale: float = 1
    starts_per_second: int | None = None
    faults: bool = False
    functions_python: Path = Path(sys.executable)

    def to_json(self) -> str:
        """The settings that the front door's process needs. Not the parameters, which other users must not see."""
        names = ("port", "concurrency", "keep", "time_scale", "starts_per_second", "faults")
        paths = {"home": str(self.home), "functions_python": str(self.functions_python)}
        return json.dumps(paths | {name: getattr(self, name) for name in names})

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Settings from `to_json`."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values | {name: Path(values[name]) for name in ("home", "functions_python")})

    @property
    def endpoint(self) -> str:
        """The URL of the stack, for all services."""
        return f"http://{HOST}:{self.port}"

    @property
    def directory(self) -> Path:
        """All files of this stack: logs, state, its workers' code."""
        return self.home / str(self.port)

    @property
    def temporary(self) -> Path:
        """Files of MiniStack and its workers; removed when the stack ends."""
        return self.directory / "tmp"

    @property
    def state(self) -> Path:
        """The state that a stack with `keep` leaves for the next one; other stacks do not touch it."""
        return self.directory / "state"

    @property
    def log(self) -> Path:
        """The front door's log."""
        return self.directory / "front-door.log"

    @property
    def ministack_log(self) -> Path:
        """MiniStack's log, beside the front door's."""
        return self.directory / "ministack.log"

    @property
    def scripts(self) -> Path:
        """The folder that the environment file adds to PATH."""
        return self.directory / "bin"

    @property
    def environment_file(self) -> Path:
        """The file to source in a shell. The most recent `up` writes it, for any port."""
        return self.home / "env"

    @property
    def ministack_python(self) -> Path:
        """The interpreter of MiniStack's environment, which `durable-local install` creates."""
        return ministack_environment.python()


def process_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of each process of the stack.

    Only the places of Pythons are inherited (PATH, and the folders of pyenv and uv): a handler must not be able to read
    the user's keys, and a proxy, profile or PYTHONPATH of the shell must not change what the stack does. HOME is an
    empty folder, so no `~/.aws` is read.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYENV_ROOT": os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv"),
        "UV_PYTHON_INSTALL_DIR": os.environ.get("UV_PYTHON_INSTALL_DIR") or str(data / "uv" / "python"),
        "HOME": str(settings.temporary),
        "TMPDIR": str(settings.temporary),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "NO_PROXY": "*",
        "PYTHONUNBUFFERED": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def from_environment(
    environment: Mapping[str, str] = os.environ, defaults: Settings | None = None, template: Path | None = None
) -> Settings:
    """Settings from the variables, with `defaults` for those that are not set.

    `template` has priority over both, and then `defaults.stack_name` does not count: it would replace the stack of the
    default template. Raises LocalStackError with the name of a variable that has no valid value.
    """
    default = defaults or Settings()
    chosen = (template or Path(environment.get("LOCAL_STACK_TEMPLATE") or default.template)).resolve()
    name = environment.get(NAME_VARIABLE) or ("" if template else default.stack_name)
    home = next(filter(None, map(environment.get, HOME_VARIABLES)), default.home)
    return Settings(
        port=_integer(environment, PORT_VARIABLE, DEFAULT_PORT, maximum=MAX_PORT),
        stack_name=name or stack_name_of(chosen),
        template=chosen,
        home=Path(home).resolve(),
        concurrency=_integer(environment, "LOCAL_STACK_CONCURRENCY", DEFAULT_CONCURRENCY, maximum=1000),
        parameters=_parameters(environment),
        keep=_truth(environment, KEEP_VARIABLE),
        time_scale=_integer(environment, "LOCAL_STACK_TIME_SCALE", 1, maximum=MAX_TIME_SCALE),
        starts_per_second=(
            _integer(environment, STARTS_VARIABLE, 0, maximum=1_000_000) if environment.get(STARTS_VARIABLE) else None
        ),
        # Not resolved: the interpreter of a virtual environment is a link, and its own path is what makes it one.
        functions_python=Path(environment.get(PYTHON_VARIABLE) or default.functions_python).absolute(),
    )


def stack_name_of(template: Path) -> str:
    """A stack name for a template (absolute): its folder's name, or its own if it is not called `template`.

    A template from `sam build` has the name of the project that it was built from.
    """
    folder = template.parent
    if folder.parts[-2:] == (".aws-sam", "build"):
        folder = folder.parents[1]
    name = re.sub("[^A-Za-z0-9]+", "-", folder.name if template.stem == "template" else template.stem).strip("-")
    # CloudFormation: a letter, then letters, digits and hyphens.
    return name if name[:1].isalpha() else f"stack-{name}".rstrip("-")


def _parameters(environment: Mapping[str, str]) -> dict[str, str]:
    text = environment.get(PARAMETERS_VARIABLE) or ""
    parameters: dict[str, str] = {}
    for setting in text.split():
        name, equals, value = setting.partition("=")
        if not (name and equals):
            raise LocalStackError(f"{PARAMETERS_VARIABLE}: {setting!r} is not of the form Name=value")
        parameters[name] = value
    return parameters


def _truth(environment: Mapping[str, str], variable: str) -> bool:
    text = environment.get(variable) or "0"
    if text in {"0", "1"}:
        return text == "1"
    raise LocalStackError(f"{variable}={text!r} is neither 1 nor 0")


def _integer(environment: Mapping[str, str], variable: str, default: int, maximum: int) -> int:
    text = environment.get(variable) or str(default)
    if text.isdecimal() and 1 <= int(text) <= maximum:
        return int(text)
    raise LocalStackError(f"{variable}={text!r} is not a whole number from 1 to {maximum}")
