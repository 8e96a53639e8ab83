"""The patches of MiniStack: their own functions, and their start in MiniStack's environment."""

import asyncio
import io
import platform
import shlex
import types
import zipfile

import pytest

from durable_local import LocalStackError, folder, keys
from durable_local.ministack.child import MiniStack
from durable_local.ministack.patches import aliases, dropped_properties, durable_targets, interpreters, process_ends
from durable_local.ministack.patches.patching import Patch, PatchError
from durable_local.settings import Settings


@pytest.mark.parametrize(("chance", "version"), [(0.0, "2"), (0.29, "2"), (0.31, None), (0.99, None)])
def test_an_alias_draws_its_second_version_by_weight(chance, version):
    alias = {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.3}}}
    assert aliases.drawn(alias, lambda: chance) == version


def test_an_alias_without_weights_is_its_version():
    assert aliases.drawn({"FunctionVersion": "1"}, lambda: 0.0) is None


def test_only_an_event_of_the_runner_is_run_directly():
    sent = {"DurableExecutionArn": "a", "CheckpointToken": "t", "InitialExecutionState": {}}
    assert durable_targets.is_invocation_of_the_runner(sent)
    assert not durable_targets.is_invocation_of_the_runner({"DurableExecutionArn": "in somebody's event"})
    assert not durable_targets.is_invocation_of_the_runner("text")


def test_properties_record_which_keys_are_read():
    def read_by(use):
        watched = dropped_properties.Watched({"a": 1, "b": 2})
        use(watched)
        return watched.read & {"a", "b"}

    assert read_by(lambda properties: properties.get("a")) == {"a"}
    assert read_by(lambda properties: properties["b"]) == {"b"}
    assert read_by(lambda properties: "a" in properties) == {"a"}
    for whole in (dict, list, lambda properties: {**properties}, lambda properties: properties.items()):
        assert read_by(whole) == {"a", "b"}


def test_compiled_parts_have_a_python_and_a_processor():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", "")
        archive.writestr("package/_c.cpython-313-aarch64-linux-gnu.so", "")
    assert interpreters.compiled_parts(content.getvalue()) == {("3.13", "arm64")}
    assert interpreters.compiled_parts(b"no zip") == set()


def test_code_without_compiled_parts_runs_in_the_functions_environment():
    assert interpreters.interpreter(set(), "python3") is None


def test_code_for_two_pythons_is_refused():
    here = interpreters.PROCESSOR.get(platform.machine(), platform.machine())
    with pytest.raises(interpreters.CannotRunError, match=r"3\.12, 3\.13"):
        interpreters.interpreter({("3.12", here), ("3.13", here)}, "python3")


def test_a_placeholder_on_path_is_not_used_as_python(tmp_path, monkeypatch):
    placeholder = tmp_path / "python3.99"
    placeholder.write_text("#!/bin/sh\nexit 127\n")
    placeholder.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    here = interpreters.PROCESSOR.get(platform.machine(), platform.machine())
    with pytest.raises(interpreters.CannotRunError, match=r"no python3\.99 on PATH"):
        interpreters.interpreter({("3.99", here)}, "/bin/true")


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("UV_PYTHON_INSTALL_DIR", "cpython-3.99.1-linux-x86_64-gnu/bin"),
        ("PATH", "."),
        ("PYENV_ROOT", "versions/3.99.1/bin"),
    ],
)
def test_a_python_is_found_from_uv_on_path_and_from_pyenv(variable, folder, tmp_path, monkeypatch):
    python = tmp_path / folder / "python3.99"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text("#!/bin/sh\necho 3.99\n")
    python.chmod(0o755)
    assert interpreters.find_python("3.99") is None
    monkeypatch.setenv(variable, str(tmp_path))
    assert interpreters.find_python("3.99") == str(python)
    assert interpreters.find_python("3.9") != str(python)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "Runtime exited without providing a reason"),
        (3, "Runtime exited with error: exit status 3"),
        (-9, "Runtime exited with error: signal: killed"),
        (-11, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_an_ended_process_is_reported_in_lambdas_words(code, said):
    assert process_ends.reason(code) == said


@pytest.fixture
def module(monkeypatch):
    """A module like one of MiniStack's."""
    made = types.ModuleType("a_module")
    made.limit = lambda account: account + 1
    made.program = "one two"
    monkeypatch.setitem(__import__("sys").modules, "a_module", made)
    return made


def test_a_patch_replaces_a_function_and_gets_the_original(module):
    patch = Patch("patches.limits")

    @patch.replaces("a_module", "limit")
    def doubled(original, account):
        return 2 * original(account)

    patch.replaces_text("a_module", "program", "two", "three")
    assert module.limit(1) == 2
    patch.apply()
    assert (module.limit(1), module.program) == (4, "one three")


@pytest.mark.parametrize(
    "declare",
    [
        lambda patch: patch.uses("a_module", "gone"),
        lambda patch: patch.replaces("a_module", "gone")(print),
        lambda patch: patch.replaces("a_module:Gone", "limit")(print),
        lambda patch: patch.replaces("a_module.gone", "limit")(print),
        lambda patch: patch.replaces_text("a_module", "program", "gone", ""),
    ],
    ids=["uses", "replaces", "class", "module", "text"],
)
def test_a_patch_of_a_missing_name_fails_with_both_names(module, declare):
    patch = Patch("patches.limits")
    declare(patch)
    with pytest.raises(PatchError, match=r"patch limits: .*a_module.*(gone|Gone|program)"):
        patch.apply()


def test_a_name_missing_in_ministack_is_the_error_of_the_start(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
exec {shlex.quote(str(Settings().ministack_python))} -c '
import runpy, sys
from ministack.services import eventbridge
del eventbridge._put_events
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
' "$@"
"""
    )
    python.chmod(0o700)
    monkeypatch.setattr(Settings, "ministack_python", python)
    settings = Settings(home=tmp_path / "home")
    with folder.locked(settings):
        settings.temporary.mkdir(mode=0o700)
        keys.create(settings)
        with pytest.raises(LocalStackError, match=r"patch event_sources: MiniStack has no .*eventbridge\._put_events"):
            asyncio.run(MiniStack.start(settings, keys.of(settings)))
