"""The secrets of a stack: its AWS credentials, and the secret that its own processes send to each other.

Both are in files that only the user can read. Neither is in an argument or a log line, which others can read.
"""

import json
import secrets
import string
from dataclasses import asdict, dataclass, field
from pathlib import Path

from durable_local import folder
from durable_local.settings import Settings

SECRET_HEADER = "X-Local-Stack-Secret"  # noqa: S105 - the name of a header
ACCESS_KEY_ID_LENGTH = 20
ACCESS_KEY_ID_CHARACTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True)
class Credentials:
    """AWS credentials of one stack. The access key id is the secret: no signature is verified."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables in which every AWS SDK looks for them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}


@dataclass(frozen=True)
class Keys:
    """`internal`: the secret that MiniStack and the control of faults require; each start makes a new one."""

    credentials: Credentials
    internal: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The header with `internal`."""
        return {SECRET_HEADER: self.internal}


def create(settings: Settings) -> None:
    """Writes the keys of a stack that starts. A stack that keeps its state keeps its credentials too."""
    _write(_internal_file(settings), secrets.token_urlsafe(32))
    if not _credentials_file(settings).exists():
        access_key_id = "".join(secrets.choice(ACCESS_KEY_ID_CHARACTERS) for _ in range(ACCESS_KEY_ID_LENGTH))
        credentials = Credentials(access_key_id, secrets.token_urlsafe(30))
        _write(_credentials_file(settings), json.dumps(asdict(credentials)))


def of(settings: Settings) -> Keys:
    """The keys of the running stack; raises FileNotFoundError if none runs."""
    credentials = json.loads(_credentials_file(settings).read_text(encoding="utf-8"))
    return Keys(Credentials(**credentials), _internal_file(settings).read_text(encoding="utf-8"))


def _credentials_file(settings: Settings) -> Path:
    return (settings.state if settings.keep else settings.temporary) / "credentials.json"


def _internal_file(settings: Settings) -> Path:
    return settings.temporary / "internal-secret"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with folder.create(path) as file:
        file.write(text.encode())
