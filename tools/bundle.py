"""Makes the archive that every function runs, and the template that names it.

`make build` starts it with Python 3.13, so it imports nothing but the standard library, and compiles in this process.

    python3.13 -I tools/bundle.py WHEELS FOLDER ARCHITECTURE

WHEELS is a folder into which uv installed src/requirements.txt for Lambda. FOLDER gets `code.zip` and `template.yaml`,
where `sam deploy` finds them. The same sources, wheels and Python give the same bytes: entries are sorted and have a
fixed time, and byte code has the path that Lambda uses, and neither a time nor a path of this machine.

All functions share one archive. It is uploaded once, and no layer can keep an alias on older code.
"""

import hashlib
import importlib.util
import marshal
import re
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LAMBDA_FOLDER: Final = "/var/task"
FIXED_DATE: Final = (1980, 1, 1, 0, 0, 0)
PYTHON: Final = (3, 13)
UNUSED: Final = (
    "bin/",
    # What boto3.resource reads. The functions use clients, whose calls are in botocore/data.
    "boto3/data/",
    "boto3/examples/",
    # Powertools' routing of HTTP requests, with a web page's JavaScript. No function is behind an API.
    "aws_lambda_powertools/event_handler/",
)
_NOTES_OF_THE_INSTALLER: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", ".lock"})
"""Without RECORD, importlib.metadata lists no files. Metadata and licences stay: Amazon Inspector reads them."""
_BY_TYPE: Final = (".pyi", ".pyc", ".c", ".h")
_CLIENT: Final = re.compile(r'boto3\.client\(\s*"([a-z0-9-]+)"')
_PARAMETER: Final = re.compile(r"(?<=\n  Architecture:\n)(    Type: String\n)    Default: \w+\n    AllowedValues: .+\n")
_CODE: Final = re.compile(r"(?<=\n    CodeUri: )src/(?=\n)")


class BundleError(Exception):
    """The bundle cannot be made of these sources; the message says why."""


def services(source: Path) -> frozenset[str]:
    """The AWS services whose clients the code makes. The bundle has botocore's data of these alone."""
    return frozenset(name for path in source.rglob("*.py") for name in _CLIENT.findall(path.read_text("utf-8")))


def files(source: Path, wheels: Path) -> dict[str, bytes]:
    """What the bundle has, by its path there: the code, what it imports, and the byte code of both."""
    used = services(source)
    found: dict[str, bytes] = {}
    for folder in (wheels, source):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir() or _is_left_out(name, used) or (folder is source and path.suffix != ".py"):
                continue
            if name in found:
                raise BundleError(f"{name} is in src/ and in a dependency")
            found[name] = path.read_bytes()
    modules = {name: content for name, content in found.items() if name.endswith(".py")}
    return found | {_cached(name): byte_code(name, content) for name, content in modules.items()}


def _is_left_out(name: str, used: frozenset[str]) -> bool:
    file = name.rpartition("/")[2]
    if name.startswith(UNUSED) or name.endswith(_BY_TYPE) or file in _NOTES_OF_THE_INSTALLER:
        return True
    if name.startswith("botocore/data/") and name.count("/") > 2:
        return name.split("/")[2] not in used or file.startswith("examples-")
    return False


def _cached(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/__pycache__/{file.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc".removeprefix("/")


def byte_code(name: str, source: bytes) -> bytes:
    """A .pyc that Python uses without a look at the source: Lambda's copy of the source has another time.

    https://docs.python.org/3.13/reference/import.html#cached-bytecode-invalidation, "unchecked hash-based"
    """
    code = compile(source, f"{LAMBDA_FOLDER}/{name}", "exec", dont_inherit=True, optimize=0)
    unchecked = (0b01).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source) + marshal.dumps(code)


def archive(content: dict[str, bytes], path: Path) -> None:
    """Write the files as a zip, sorted and with a fixed time and mode."""
    with zipfile.ZipFile(path, "w") as written:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, FIXED_DATE)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            written.writestr(entry, content[name], zipfile.ZIP_DEFLATED, zlib.Z_BEST_COMPRESSION)


def template(text: str, architecture: str) -> str:
    """The template with the archive as its code, and no other architecture than the archive's compiled parts."""
    text, codes = _CODE.subn("code.zip", text)
    text, parameters = _PARAMETER.subn(
        rf"\g<1>    Default: {architecture}\n    AllowedValues: [{architecture}]\n", text
    )
    if (codes, parameters) != (1, 1):
        raise BundleError("template.yaml must have one CodeUri, src/, and one parameter Architecture with a default")
    return text


def main(wheels: str, folder: str, architecture: str) -> None:
    """Write the bundle, and print its size and digest."""
    if sys.version_info[:2] != PYTHON:
        raise BundleError(f"byte code for Lambda needs Python {PYTHON[0]}.{PYTHON[1]}")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    content = files(ROOT / "src", Path(wheels))
    archive(content, target / "code.zip")
    (target / "template.yaml").write_text(template((ROOT / "template.yaml").read_text("utf-8"), architecture), "utf-8")
    packed = (target / "code.zip").read_bytes()
    unpacked = sum(map(len, content.values()))
    print(f"{target / 'code.zip'} ({architecture}): {len(packed) / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked")
    print(f"sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BundleError as error:
        sys.exit(f"make build: {error}")
