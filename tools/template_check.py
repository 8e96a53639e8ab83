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
# The linters must not ask AWS or phone home, and do not need to: a Region is all they want.
_ENVIRONMENT: Final = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "SAM_CLI_TELEMETRY": "0",
}


class TemplateError(Exception):
    """The template does not pass; the message is what the tool said of it."""


def translated(template: Path = TEMPLATE) -> dict[str, Any]:
    """The CloudFormation template that SAM makes of the file. Raises `TemplateError` where it cannot."""
    text = _run(["python", "-m", "tools.sam_translation", str(template)])
    answer: dict[str, Any] = json.loads(text)
    return answer


def check(template: Path = TEMPLATE) -> None:
    """Raise `TemplateError` with what the linters find, if they find anything."""
    _run(["sam", "validate", "--lint", "--template-file", str(template)])
    with tempfile.TemporaryDirectory() as directory:
        translation = Path(directory) / f"{template.stem}-translated.json"
        translation.write_text(json.dumps(translated(template), indent=2), encoding="utf-8")
        # W3011 (a DeletionPolicy beside each UpdateReplacePolicy): SAM hands a function's UpdateReplacePolicy on to its
        # alias, but not the reason in the function's metadata.
        _run(["cfn-lint", "--ignore-checks", "W3011", "--template", str(translation)])


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
