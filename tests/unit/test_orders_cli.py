"""The `orders` command without a stack: help, usage errors, and what every command has."""

from importlib import import_module

import pytest

from tools.orders_cli.app import COMMANDS, run


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_the_help_lists_every_command(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (summary, _) in COMMANDS.items():
        assert f"│ {name} " in text
        assert summary.split(",")[0][:40] in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example_in_80_columns(name, capsys):
    assert run([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"Example: orders {COMMANDS[name][1]}" in lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_each_commands_module_says_which_command_it_is(name):
    assert f"`orders {name}`" in import_module(f"tools.orders_cli.commands.{name.replace('-', '_')}").__doc__


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["get"], "ORDER_ID"),
        (["unknown"], 'Unknown command "unknown"'),
        (["get", "ORDER-1", "--nothing"], "Unknown option: --nothing"),
        (["list", "--since", "5x"], "an age is a number and s, m, h or d, such as 2h"),
        (["watch", "--every", "0"], "--every"),
        (["retry", "--yes"], "select them with --state"),
        (["cancel"], "select them with --state"),
        (["pause"], "nothing is selected"),
        (["send"], "name files"),
    ],
)
def test_wrong_usage_is_one_line_with_status_2(arguments, says, capsys):
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1
