"""Lints the template as it is written, and as CloudFormation is given it: `python -m tools.template_check`.

`sam validate --lint` knows SAM's own resources; what those become, such as the alias and the event source mapping,
shows only in the translation. All of it runs offline, in `.venv-sam`.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
TEMPLATE: Final = ROOT / "template.yaml"
BIN: Final = ROOT / ".venv-sam" / "bin"
# The linters must not call AWS or send usage data. They need only a Region.
_ENVIRONMENT: Final = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "SAM_CLI_TELEMETRY": "0",
}


class TemplateError(Exception):
    """The template does not pass; the message is what the tool said of it."""


def translated(template: Path = TEMPLATE, **parameters: str) -> dict[str, Any]:
    """The CloudFormation template that SAM makes of the file. Raises `TemplateError` where it cannot."""
    given = (f"{name}={value}" for name, value in parameters.items())
    text = _run(["python", "-m", "tools.sam_translation", str(template), *given])
    answer: dict[str, Any] = json.loads(text)
    return answer


def check(template: Path = TEMPLATE) -> None:
    """Raise `TemplateError` with what the linters find, if they find anything."""
    _run(["sam", "validate", "--lint", "--template-file", str(template)])
    lint(translated(template))


def lint(translation: dict[str, Any], *ignored: str) -> None:
    """Raise `TemplateError` with what cfn-lint finds in a translated template, but for the checks that are ignored."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "translated.json"
        path.write_text(json.dumps(translation, indent=2), encoding="utf-8")
        # W3011 (a DeletionPolicy with each UpdateReplacePolicy): SAM copies a function's UpdateReplacePolicy to its
        # alias, but not the reason in the function's metadata.
        _run(["cfn-lint", "--ignore-checks", "W3011", *ignored, "--template", str(path)])


def _run(command: Sequence[str]) -> str:
    """What a tool of `.venv-sam` prints."""
    if not BIN.exists():
        raise TemplateError("the SAM CLI is not installed: `make check` installs it")
    # The user's profile or configuration may be one that the SAM CLI cannot read.
    not_of_aws = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=ROOT,
        env={**not_of_aws, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TemplateError(f"{shlex.join(command)}\n{(done.stdout + done.stderr).strip()}")
    return done.stdout


def main() -> int:
    """One line where there is nothing to say, else the findings; the exit code."""
    try:
        check()
    except TemplateError as error:
        print(error, file=sys.stderr)
        return 1
    print("template.yaml: clean, as written and as translated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
