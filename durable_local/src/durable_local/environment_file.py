"""`.local/env`: a shell (sh, bash, zsh) that sources it sends the requests of all its AWS clients to the stack."""

import importlib.util
import shlex
import sys
from collections.abc import Mapping

from durable_local import folder
from durable_local.settings import HOST, Settings

# A profile, a session token or an AWS_ENDPOINT_URL_S3 would have priority over the variables that follow. `command`:
# the user's shell may have aliases for `env` and `sed`.
UNSET = r"""eval "$(command env | command sed -n 's/^\(AWS_[A-Za-z0-9_]*\)=.*/unset \1;/p')" """.rstrip()

# Some programs read one of the two names, some the other.
APPEND_TO_NO_PROXY = f"""\
NO_PROXY="${{NO_PROXY:-${{no_proxy:-}}}}"
no_proxy="${{no_proxy:-$NO_PROXY}}"
case ",$NO_PROXY," in *",*,"*|*",{HOST},"*) ;; *) NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{HOST}" ;; esac
case ",$no_proxy," in *",*,"*|*",{HOST},"*) ;; *) no_proxy="${{no_proxy:+$no_proxy,}}{HOST}" ;; esac
export NO_PROXY no_proxy"""


def write(settings: Settings, environment: Mapping[str, str]) -> None:
    """Writes the file with `environment` in it, in one step.

    If the AWS CLI is installed beside durable-local, an `aws` command is added at the end of PATH.
    """
    settings.scripts.mkdir(mode=0o700, exist_ok=True)
    if importlib.util.find_spec("awscli"):
        with folder.create(settings.scripts / "aws", 0o700) as command:
            # The script that pip writes fails if there is a space in its path.
            command.write(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m awscli "$@"\n'.encode())
    variables = {name: value for name, value in environment.items() if name.upper() != "NO_PROXY"}
    lines = [
        UNSET,
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        APPEND_TO_NO_PROXY,
        f'export PATH="$PATH":{shlex.quote(str(settings.scripts))}',
    ]
    written = settings.directory / "env"
    with folder.create(written) as file:
        file.write(("\n".join(lines) + "\n").encode())
    # A stack on another port may write this file at the same time.
    written.replace(settings.environment_file)
