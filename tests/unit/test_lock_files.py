"""pyproject.toml declares the dependencies, and `make lock` compiles the lock files from it."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCAL_STACK = tomllib.loads((ROOT / "durable_local" / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
LOCK_FILES = {
    "src/requirements.txt": RUNTIME,
    **{f"requirements/{group}.txt": declared for group, declared in PROJECT["dependency-groups"].items()},
    "durable_local/src/durable_local/ministack.lock.txt": LOCAL_STACK["dependency-groups"]["ministack"],
}
LOCK_FILES["requirements/dev.txt"] += LOCAL_STACK["project"]["dependencies"]


def pinned(path):
    """A lock file's version and number of hashes, by the distribution's name."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / path).read_text().strip()):
        head, *hashes = entry.split(" \\\n")
        requirement = Requirement(head)
        [pin] = requirement.specifier
        assert pin.operator == "=="
        found[canonicalize_name(requirement.name)] = (pin.version, requirement.extras, len(hashes))
    return found


@pytest.mark.parametrize("path", LOCK_FILES)
def test_a_lock_file_pins_each_declared_dependency_inside_its_specifier(path):
    locked = pinned(path)
    assert LOCK_FILES[path]
    for declared in map(Requirement, LOCK_FILES[path]):
        version, extras, _ = locked[canonicalize_name(declared.name)]
        assert version in declared.specifier, declared
        assert extras == declared.extras, declared


@pytest.mark.parametrize("path", LOCK_FILES)
def test_every_pin_of_a_lock_file_has_hashes_and_no_index_address(path):
    assert all(hashes for _, _, hashes in pinned(path).values())
    assert "://" not in (ROOT / path).read_text()


def test_the_development_environment_has_the_pins_that_ship_to_lambda():
    development = pinned("requirements/dev.txt")
    for name, pin in pinned("src/requirements.txt").items():
        assert development[name][0] == pin[0]


def test_each_lock_file_belongs_to_a_dependency_group_and_no_other_list_exists():
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "requirements").iterdir()}
    assert files == {path for path in LOCK_FILES if path.startswith("requirements/")}
    assert [path.name for path in (ROOT / "src").iterdir() if path.is_file()] == ["requirements.txt"]


def test_the_runtime_dependencies_are_what_the_functions_import():
    nodes = [node for source in (ROOT / "src").rglob("*.py") for node in ast.walk(ast.parse(source.read_text()))]
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    imported = {module.partition(".")[0] for module in modules}
    names = {Requirement(declared).name.replace("-", "_") for declared in RUNTIME}
    assert names <= imported
    # Without Python's own modules and ours. botocore is installed with boto3, pydantic_core with pydantic, and only
    # type checkers import the stubs.
    ours = {path.name for path in (ROOT / "src").iterdir()}
    left = {name for name in imported - names - ours - sys.stdlib_module_names if not name.startswith("mypy_boto3")}
    assert left == {"botocore", "pydantic_core"}
