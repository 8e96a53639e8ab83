"""The generated documents match the code."""

import json

import pytest

from shared.ledger.states import TRANSITIONS, State
from tools.generated_docs import DOCS, PAGES, TASKS, order_schema, states_page
from tools.orders_cli.app import COMMANDS


@pytest.mark.parametrize("name", list(PAGES))
def test_a_generated_page_is_up_to_date(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), f"docs/{name} is out of date: run `make docs`"


@pytest.mark.parametrize("name", list(PAGES))
def test_a_generated_page_ends_in_one_newline(name):
    text = PAGES[name]()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_each_command_is_listed_by_what_it_is_for():
    assert sorted(name for names in TASKS.values() for name in names) == sorted(COMMANDS)


def test_the_schema_has_the_field_names_that_producers_write():
    schema = json.loads(order_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "Order"
    assert schema["required"] == ["orderId"]
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["attributes", "currency", "customerId", "items", "orderId", "placedAt"]


def test_the_page_has_every_state_and_every_transition():
    page = states_page()
    arrows = {
        tuple(line.split(" --> "))
        for line in map(str.strip, page.splitlines())
        if " --> " in line and "[*]" not in line
    }
    assert arrows == {(before, after) for before, states in TRANSITIONS.items() for after in states}
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][1:]
    assert rows == list(State)
