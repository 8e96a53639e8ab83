"""What stands around MiniStack's own functions, without MiniStack."""

import io
import platform
import zipfile

import pytest

from durable_local.ministack.patches import aliases, dropped_properties, durable_targets, interpreters, process_ends


@pytest.mark.parametrize(("chance", "version"), [(0.0, "2"), (0.29, "2"), (0.31, None), (0.99, None)])
def test_an_alias_draws_its_second_version_as_often_as_its_weight_says(chance, version):
    alias = {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.3}}}
    assert aliases.drawn(alias, lambda: chance) == version


def test_an_alias_without_weights_is_its_version():
    assert aliases.drawn({"FunctionVersion": "1"}, lambda: 0.0) is None


def test_only_what_the_runner_sends_is_run_as_it_is():
    sent = {"DurableExecutionArn": "a", "CheckpointToken": "t", "InitialExecutionState": {}}
    assert durable_targets.is_invocation_of_the_runner(sent)
    assert not durable_targets.is_invocation_of_the_runner({"DurableExecutionArn": "in somebody's event"})
    assert not durable_targets.is_invocation_of_the_runner("text")


def test_properties_note_who_asked_for_them():
    def read_by(use):
        watched = dropped_properties.Watched({"a": 1, "b": 2})
        use(watched)
        return watched.read & {"a", "b"}

    assert read_by(lambda properties: properties.get("a")) == {"a"}
    assert read_by(lambda properties: properties["b"]) == {"b"}
    assert read_by(lambda properties: "a" in properties) == {"a"}
    for whole in (dict, list, lambda properties: {**properties}, lambda properties: properties.items()):
        assert read_by(whole) == {"a", "b"}


def test_code_says_what_it_is_compiled_for():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", "")
        archive.writestr("package/_c.cpython-313-aarch64-linux-gnu.so", "")
    assert interpreters.compiled_parts(content.getvalue()) == {("3.13", "arm64")}
    assert interpreters.compiled_parts(b"no zip") == set()


def test_code_without_compiled_parts_runs_in_the_functions_environment():
    assert interpreters.interpreter(set(), "python3") is None


def test_code_for_two_pythons_runs_in_none():
    here = interpreters.PROCESSOR.get(platform.machine(), platform.machine())
    with pytest.raises(interpreters.CannotRunError, match=r"3\.12, 3\.13"):
        interpreters.interpreter({("3.12", here), ("3.13", here)}, "python3")


def test_a_name_on_path_with_no_python_behind_it_is_not_taken(tmp_path, monkeypatch):
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
def test_a_process_that_ended_is_told_in_lambdas_words(code, said):
    assert process_ends.reason(code) == said
