"""Makes archives of the folders that a template names, as `aws cloudformation package` does.

Not with that command: its archives have file times and byte code, so a test run or a fresh clone would publish new
versions of unchanged functions. It also needs more time to start than the whole deployment.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from durable_local.errors import LocalStackError

# The property that may name a local folder, by resource type.
CODE_PROPERTIES = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Lambda::Function": "Code",
    "AWS::Lambda::LayerVersion": "Content",
}
NEVER_SHIPPED = frozenset({"__pycache__", ".DS_Store", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
FIXED_DATE = (1980, 1, 1, 0, 0, 0)

BUCKET = "local-stack-artifacts"


@dataclass(frozen=True)
class Package:
    """A template with objects in `BUCKET` in place of folders, and those objects by their keys."""

    template: str
    archives: Mapping[str, bytes]


def package(template: Path) -> Package:
    """Reads the template and its folders; raises LocalStackError for what cannot be read."""
    content = _read(template)
    archives: dict[str, bytes] = {}
    keys: dict[Path, str] = {}
    for properties, name, is_native in _code_places(content):
        local = properties.get(name)
        if not isinstance(local, str) or local.startswith(("s3://", "https://", "http://")):
            continue
        folder = (template.parent / local).resolve()
        if folder not in keys:
            archive = _zip(folder)
            keys[folder] = hashlib.sha256(archive).hexdigest()
            archives[keys[folder]] = archive
        key = keys[folder]
        properties[name] = {"S3Bucket": BUCKET, "S3Key": key} if is_native else f"s3://{BUCKET}/{key}"
    return Package(yaml.dump(content, Dumper=_TemplateDumper, sort_keys=False), archives)


def _read(template: Path) -> dict[str, Any]:
    try:
        content = yaml.load(template.read_text(encoding="utf-8"), Loader=_TemplateLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise LocalStackError(f"cannot read {template}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise LocalStackError(f"{template} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise LocalStackError(f"{template} is not a template")
    return content


def _code_places(template: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, bool]]:
    resources = (template.get("Resources") or {}).values()
    in_globals = (template.get("Globals") or {}).get("Function")
    # `sam build` keeps the global folder but gives each function its own. The global one may no longer exist.
    if isinstance(in_globals, dict) and any(map(_has_no_code_of_its_own, resources)):
        yield in_globals, "CodeUri", False
    for resource in resources:
        if isinstance(resource, dict) and (name := CODE_PROPERTIES.get(resource.get("Type", ""))):
            properties = resource.setdefault("Properties", {})
            yield properties, name, resource["Type"].startswith("AWS::Lambda::")


def _has_no_code_of_its_own(resource: Any) -> bool:
    if not isinstance(resource, dict) or resource.get("Type") != "AWS::Serverless::Function":
        return False
    return not {"CodeUri", "InlineCode", "ImageUri"} & (resource.get("Properties") or {}).keys()


def _zip(source: Path) -> bytes:
    """The same bytes for the same content and any file times. `source` is resolved."""
    if source.suffix == ".zip" and source.is_file():
        return source.read_bytes()
    if not source.is_dir():
        raise LocalStackError(f"the template names a folder that does not exist: {source}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(source, [source]):
            entry = zipfile.ZipInfo(path.relative_to(source).as_posix(), FIXED_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _files(folder: Path, parents: list[Path]) -> Iterator[Path]:
    """The files of the archive, sorted; follows links inside the source folder.

    `parents` are the resolved folders from the source to this one. Raises LocalStackError for a link that leaves the
    source, and for a link to one of `parents`, which would have no end.
    """
    for path in sorted(folder.iterdir()):
        if path.name in NEVER_SHIPPED or path.suffix == ".pyc":
            continue
        # Not Path.resolve: for a cycle of links, each version of Python raises another error.
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(parents[0]):
            raise LocalStackError(f"{path} is a link to {target}, outside the source folder {parents[0]}")
        if target in parents:
            raise LocalStackError(f"{path} is a link to {target}, a folder that contains it")
        if target.is_dir():
            yield from _files(path, [*parents, target])
        elif target.is_file():
            yield path


class _Tagged:
    """A short-form intrinsic (`!Sub ...`), unchanged."""

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.value = value


class _TemplateLoader(yaml.CSafeLoader):
    """Reads YAML as CloudFormation does: with short-form intrinsics, and dates as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


class _TemplateDumper(yaml.CSafeDumper):
    """Writes the template without anchors, which CloudFormation refuses."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _load_tagged(loader: _TemplateLoader, suffix: str, node: yaml.Node) -> _Tagged:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return _Tagged("!" + suffix, value)


def _dump_tagged(dumper: _TemplateDumper, tagged: _Tagged) -> yaml.Node:
    if isinstance(tagged.value, str):
        return dumper.represent_scalar(tagged.tag, tagged.value)
    if isinstance(tagged.value, list):
        return dumper.represent_sequence(tagged.tag, tagged.value)
    return dumper.represent_mapping(tagged.tag, tagged.value)


_TemplateLoader.add_multi_constructor("!", _load_tagged)
_TemplateDumper.add_representer(_Tagged, _dump_tagged)
