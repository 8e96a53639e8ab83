"""The docs that are written by the code they describe: `python -m tools.generated_docs` writes them anew."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from shared.ledger.states import RETRYABLE, TERMINAL, TRANSITIONS, State
from shared.orders.order import Order

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"

_INTRODUCTION: Final = """\
# The states of an order

Written by `make docs` from `src/shared/ledger/states.py`; the same table feeds the ledger's conditions.

A state is stored when it is entered, with the time and the attempt, and never taken back: an order's history only
grows. Any end but COMPLETED and CANCELLED can be followed by a retry, which begins again at RECEIVED as a new attempt
under a new execution name.
"""

_MEANINGS: Final[Mapping[State, str]] = {
    State.RECEIVED: "An execution has claimed the order.",
    State.ENRICHING: "The enricher is being asked.",
    State.ENRICHED: "Its answer is in the ledger.",
    State.WAITING: "The execution is suspended and costs no compute.",
    State.FINALIZING: "The point of no return: the order can no longer be cancelled.",
    State.COMPLETED: "Done, with the result in the ledger.",
    State.FAILED: "An error ended it; the entry says which.",
    State.TIMED_OUT: "Its execution ran longer than it may.",
    State.STOPPED: "Its execution was stopped.",
    State.CANCELLED: "The order was cancelled.",
}


def order_schema() -> str:
    """`order.schema.json`: what a producer may send, as JSON Schema.

    The parser knows more than a schema can say: the digits of a price, which currencies there are, which times exist,
    the size in canonical form. Whatever it takes, the schema takes.
    """
    schema: dict[str, Any] = Order.model_json_schema(by_alias=True, mode="validation")
    for model in (schema, *schema["$defs"].values()):
        for field in model["properties"].values():
            del field["title"]  # pydantic's: the field's name once more, as one word
            if "patternProperties" in field:
                field["additionalProperties"] = False  # pydantic leaves names of another form unsaid
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Order"}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def states_page() -> str:
    """`states.md`: the states as a diagram and as a table."""
    return "\n".join([_INTRODUCTION, "```mermaid", *_diagram(), "```", "", *_table(), ""])


def _diagram() -> list[str]:
    arrows = [f"    {before} --> {after}" for before, after in _arrows()]
    ends = [f"    {state} --> [*]" for state in State if not TRANSITIONS[state]]
    return ["stateDiagram-v2", "    [*] --> RECEIVED", *arrows, *ends]


def _arrows() -> list[tuple[State, State]]:
    return [(before, after) for before in State for after in State if after in TRANSITIONS[before]]


def _table() -> list[str]:
    rows = [
        f"| {state} | {_MEANINGS[state]} | {_kind(state)} | {', '.join(_following(state)) or 'nothing'} |"
        for state in State
    ]
    return ["| state | what it says | an end? | what may follow |", "|---|---|---|---|", *rows]


def _kind(state: State) -> str:
    if state in RETRYABLE:
        return "yes, a retry may follow"
    return "yes, for good" if state in TERMINAL else "no"


def _following(state: State) -> list[State]:
    return [after for after in State if after in TRANSITIONS[state]]


PAGES: Final = {"order.schema.json": order_schema, "states.md": states_page}
"""Each generated file under docs/, and what gives its text."""


def main() -> None:
    """Write every page."""
    for name, text in PAGES.items():
        (DOCS / name).write_text(text(), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
