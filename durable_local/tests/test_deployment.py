"""What a later deployment changes and what it does not change."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from durable_local import LocalStackError, local_stack
from durable_local.deploy import packaging

FIXTURE = Path(__file__).parent / "fixture"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the fixture that a test may change."""
    return shutil.copytree(FIXTURE, tmp_path_factory.mktemp("project") / "fixture")


@pytest.fixture(scope="module")
def deployed(project):
    with local_stack(template=project / "template.yaml", stack_name="versions") as running:
        yield running


def invoke(stack, payload):
    response = stack.client("lambda").invoke(
        FunctionName=stack.outputs["Durable"], Payload=json.dumps(payload).encode()
    )
    return response["ExecutedVersion"], json.loads(response["Payload"].read())


def test_the_same_template_again_changes_nothing(deployed, project):
    (project / "src" / "__pycache__").mkdir(exist_ok=True)
    (project / "src" / "__pycache__" / "plain.cpython-311.pyc").write_bytes(b"byte code")
    (project / "src" / "plain.py").touch()
    assert deployed.deploy().outputs == deployed.outputs
    assert invoke(deployed, {})[0] == "1"


def test_a_running_execution_keeps_its_version_after_a_deployment(deployed, project, eventually):
    aws_lambda = deployed.client("lambda")
    arn = aws_lambda.invoke(FunctionName=deployed.outputs["Durable"], InvocationType="Event", Payload=b'{"wait": 4}')[
        "DurableExecutionArn"
    ]
    # A deployment may take longer than the wait.
    aws_lambda.pause_durable_execution(DurableExecutionArn=arn, Reason="deployment")

    handler = project / "src" / "durable.py"
    handler.write_text(handler.read_text().replace("{**first,", '{**first, "code": "new",'))
    deployed.deploy({"Greeting": "good day"})

    version, result = invoke(deployed, {})
    assert (version, result["code"], result["greeting"]) == ("2", "new", "good day")

    execution = aws_lambda.get_durable_execution(DurableExecutionArn=arn)
    assert (execution["Version"], execution["Status"]) == ("1", "PAUSED")
    aws_lambda.resume_durable_execution(DurableExecutionArn=arn)
    ended = eventually(lambda: aws_lambda.get_durable_execution(DurableExecutionArn=arn).get("Result"))
    result = json.loads(ended)
    assert (result["version"], result["greeting"]) == ("1", "hello")
    assert "code" not in result


def test_a_failed_update_keeps_the_last_deployment(deployed, project):
    template = project / "template.yaml"
    before = template.read_text()
    template.write_text(before.replace("VisibilityTimeout: 60", "VisibilityTimeout: -60"))
    with pytest.raises(LocalStackError, match="Queue"):
        deployed.deploy()
    template.write_text(before)
    assert "greeting" in invoke(deployed, {})[1]


def test_an_archive_depends_only_on_content(tmp_path):
    archives = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "src" / "__pycache__").mkdir(parents=True)
        (folder / "src" / "handler.py").write_text("handler = print")
        (folder / "src" / "__pycache__" / "handler.pyc").write_text(name)
        (folder / "template.yaml").write_text(
            "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: src}}}"
        )
        archives.append(packaging.package(folder / "template.yaml").archives)
    assert archives[0] == archives[1]
    assert len(archives[0]) == 1


@pytest.fixture
def linked(tmp_path):
    """A template's source folder, for links, beside a file that belongs to no function."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    source = tmp_path / "src"
    (source / "package").mkdir(parents=True)
    (source / "package" / "handler.py").write_text("handler = print")
    (tmp_path / "template.yaml").write_text(
        "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: src}}}"
    )
    return source


def archived(source):
    [archive] = packaging.package(source.parent / "template.yaml").archives.values()
    with zipfile.ZipFile(io.BytesIO(archive)) as content:
        return {entry.filename: content.read(entry).decode() for entry in content.infolist()}


@pytest.mark.parametrize("target", ["../../outside/secret", "../../outside", "../../outside/nothing"])
def test_a_link_that_leaves_the_source_folder_is_an_error_that_names_it(linked, target):
    link = linked / "package" / "link"
    link.symlink_to(target)
    with pytest.raises(LocalStackError, match=f"^{link} is a link to .*outside"):
        archived(linked)


def test_a_link_inside_the_source_folder_is_stored_as_its_content(linked):
    (linked / "entry.py").symlink_to("package/handler.py")
    (linked / "same").symlink_to("package")
    (linked / "nothing").symlink_to("removed.py")
    names = ["entry.py", "package/handler.py", "same/handler.py"]
    assert archived(linked) == dict.fromkeys(names, "handler = print")


def test_a_cycle_of_links_is_an_error(linked):
    (linked / "other").mkdir()
    (linked / "other" / "there").symlink_to("../package")
    (linked / "package" / "back").symlink_to("../other")
    with pytest.raises(LocalStackError, match="a folder that contains it"):
        archived(linked)


def test_a_template_keeps_its_meaning_when_its_folders_are_replaced(tmp_path):
    (tmp_path / "template.yaml").write_text(
        "Parameters: {Day: {Type: String, Default: 2026-11-23}}\n"
        "Outputs: {A: {Value: !Sub '${AWS::StackName}-x'}, B: {Value: !GetAtt [F, Arn]}, C: {Value: !If [a, b, c]}}\n"
    )
    packaged = packaging.package(tmp_path / "template.yaml").template
    assert "!Sub ${AWS::StackName}-x\n" in packaged
    assert "!GetAtt" in packaged
    assert "Default: '2026-11-23'" in packaged


def test_a_global_folder_that_every_function_overrides_may_be_missing(tmp_path):
    """`sam build` writes such a template."""
    (tmp_path / "F").mkdir()
    (tmp_path / "F" / "handler.py").write_text("handler = print")
    (tmp_path / "template.yaml").write_text(
        "Globals: {Function: {CodeUri: src/}}\n"
        "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: F}}}\n"
    )
    assert len(packaging.package(tmp_path / "template.yaml").archives) == 1
