"""The user's shell has no effect on the stack, and the stack gets nothing of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from durable_local import environment_file, local_stack, processes
from durable_local.settings import Settings

REPOSITORY = Path(__file__).parents[2]
FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"
CLOSED = "http://127.0.0.1:9"
SERVICES = ("S3", "SQS", "STS", "LAMBDA", "DYNAMODB", "CLOUDFORMATION", "EVENTBRIDGE", "CLOUDWATCH_LOGS")
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIALEAKEDLEAKEDLEAK",
    "AWS_SECRET_ACCESS_KEY": "leaked-secret",
    "AWS_SESSION_TOKEN": "leaked-token",
    "AWS_SECURITY_TOKEN": "leaked-token",
}


@pytest.fixture
def harmful(tmp_path):
    """Every variable that AWS's SDKs and Python's HTTP clients read, each with a value that breaks them."""
    broken = tmp_path / "broken"
    broken.write_text("][ this is no configuration\n")
    user = tmp_path / "user"
    model = user / ".aws" / "models" / "sqs" / "2012-11-05"
    model.mkdir(parents=True)
    (model / "service-2.json").write_text("this is no model")
    for name in ("config", "credentials"):
        shutil.copy(broken, user / ".aws" / name)
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {
        **KEYS,
        "HOME": str(user),
        "PYTHONPATH": str(broken),
        "PYTHONWARNINGS": "error",
        "AWS_PROFILE": "unknown",
        "AWS_DEFAULT_PROFILE": "unknown",
        "AWS_CONFIG_FILE": str(broken),
        "AWS_SHARED_CREDENTIALS_FILE": str(broken),
        "AWS_DATA_PATH": str(user / ".aws" / "models"),
        "AWS_ENDPOINT_URL": CLOSED,
        **{f"AWS_ENDPOINT_URL_{service}": CLOSED for service in SERVICES},
        "AWS_REGION": "mars-north-1",
        "AWS_DEFAULT_REGION": "mars-north-1",
        "AWS_CA_BUNDLE": str(broken),
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        **dict.fromkeys(
            (
                "AWS_ACCOUNT_ID_ENDPOINT_MODE",
                "AWS_DEFAULTS_MODE",
                "AWS_MAX_ATTEMPTS",
                "AWS_REQUEST_CHECKSUM_CALCULATION",
                "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
                "AWS_RESPONSE_CHECKSUM_VALIDATION",
                "AWS_RETRY_MODE",
                "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
                "AWS_STS_REGIONAL_ENDPOINTS",
            ),
            "nonsense",
        ),
        **dict.fromkeys([*proxies, *map(str.lower, proxies)], CLOSED),
        "NO_PROXY": "",
        "no_proxy": "",
        "CONTRACT_STACK": "real",
        "STACK": "exported",
        "TEMPLATE": "exported",
    }


@pytest.mark.timeout(300)
def test_make_up_demo_and_down_work_in_a_harmful_shell(make, harmful, home):
    for command, said in (
        ("up", "The local stack is up"),
        ("demo", "every order ended as it should, and no message is left"),
        ("down", "has ended"),
    ):
        process = make(command, **harmful)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
        assert said in output
    assert not home.exists()


def test_a_client_of_the_stack_reads_nothing_of_a_harmful_shell(stack, harmful, monkeypatch):
    for name, value in harmful.items():
        monkeypatch.setenv(name, value)
    assert stack.client("sqs").list_queues()["QueueUrls"]
    assert stack.client("s3").list_buckets()["Buckets"]
    assert stack.client("dynamodb").list_tables()["TableNames"]
    assert stack.client("lambda").list_functions()["Functions"]
    assert stack.client("cloudformation").list_stacks()["StackSummaries"]
    assert stack.client("events").list_rules()["Rules"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc to read environments from")
def test_no_process_of_a_stack_has_a_variable_of_the_user(harmful, monkeypatch, home):
    for name, value in {**harmful, "OF_THE_USER": "leaked"}.items():
        monkeypatch.setenv(name, value)
    with local_stack(template=FIXTURE, home=home) as stack:
        stack.client("lambda").invoke(FunctionName=stack.outputs["Plain"], Payload=b"{}")
        found = {pid: Path(f"/proc/{pid}/environ").read_text() for pid in processes.of_stack(stack.settings.directory)}
        assert len(stack.workers("Plain")) == 1
        assert len(found) >= 3
    for environment in found.values():
        assert "leaked" not in environment.lower()
        assert not {f"{name}={value}" for name, value in harmful.items()} & set(environment.split("\0"))


@pytest.fixture
def source(tmp_path, harmful):
    """Runs commands in a shell with harmful variables that has sourced a stack's file; what they print."""
    settings = Settings(home=tmp_path / "a 'home' with spaces")
    settings.directory.mkdir(parents=True)
    environment_file.write(settings, {"AWS_ENDPOINT_URL": settings.endpoint, "AWS_PAGER": "", "NO_PROXY": "127.0.0.1"})

    def run(shell, commands, **variables):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        environment = {**harmful, "PATH": os.environ["PATH"], **variables}
        given = {name: value for name, value in environment.items() if value is not None}
        done = subprocess.run(
            [shell, "-euc", f'. "$1"; . "$1"; {commands}', shell, settings.environment_file],
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_the_environment_file_unsets_all_of_aws_that_the_shell_had(source, shell):
    printed = source(shell, "env", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    variables = [line for line in printed.splitlines() if line.startswith("AWS_")]
    assert sorted(variables) == ["AWS_ENDPOINT_URL=http://127.0.0.1:4566", "AWS_PAGER="]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
@pytest.mark.parametrize(
    ("upper", "lower", "then"),
    [
        (None, None, "127.0.0.1 127.0.0.1"),
        ("corp.example", None, "corp.example,127.0.0.1 corp.example,127.0.0.1"),
        (None, "corp.example", "corp.example,127.0.0.1 corp.example,127.0.0.1"),
        ("a.example", "b.example", "a.example,127.0.0.1 b.example,127.0.0.1"),
        ("*", "127.0.0.1,b.example", "* 127.0.0.1,b.example"),
    ],
)
def test_the_environment_file_appends_to_no_proxy_once(source, shell, upper, lower, then):
    printed = source(shell, "sh -c 'echo \"$NO_PROXY $no_proxy\"'", NO_PROXY=upper, no_proxy=lower)
    assert printed == then + "\n"


def dry_run(environment, *arguments):
    """What `make` would run."""
    return subprocess.run(
        ["make", "--dry-run", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_only_the_command_line_of_make_chooses_a_real_stack(chosen, harmful):
    exported = {**chosen, **harmful}
    assert "pytest durable_local/tests/test_contract.py" in dry_run(exported, "contract")
    assert "CONTRACT_STACK" not in dry_run(exported, "contract")
    assert "CONTRACT_STACK='mine' " in dry_run(exported, "contract", "STACK=mine")
    # An exported CONTRACT_STACK reaches no command at all.
    show = ["make", "--eval", "show: ; @echo $${CONTRACT_STACK-}", "show"]
    assert subprocess.check_output(show, cwd=REPOSITORY, env=exported, text=True) == "\n"


def test_only_the_command_line_of_make_chooses_a_template(chosen, harmful):
    exported = {**chosen, **harmful}
    assert "exported" not in dry_run(exported, "up")
    assert "up 'other.yaml' --stack 'mine'" in dry_run(exported, "up", "TEMPLATE=other.yaml", "STACK=mine")


def test_nothing_that_is_not_ours_is_built_when_it_is_installed(chosen):
    commands = dry_run(chosen, "--always-make", ".venv/.stack", ".venv-sam/.installed").splitlines()
    from_lock_files = [command for command in commands if " pip " in command and ".txt" in command]
    assert len(from_lock_files) == 4
    for command in from_lock_files:
        assert "--require-hashes --only-binary :all:" in command
    # MiniStack: the test of `ministack_environment` has its hashes.
    assert any(command.endswith("-m durable_local install") for command in commands)
    [ours] = [command for command in commands if " pip install " in command and ".txt" not in command]
    assert ours.endswith("--no-deps --no-build-isolation --editable . --editable durable_local")
