"""Recorded executions: what Lambda handed the orchestrator each time, and how they ended. `make record` writes them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("histories")


@dataclass(frozen=True)
class Invocation:
    """One invocation's event as Lambda gave it, and the order's ledger item at that time as plain data, or None."""

    event: dict
    ledger: dict | None

    @property
    def operations(self):
        """What had been checkpointed; before that stands the execution itself, with its payload."""
        return self.event["InitialExecutionState"]["Operations"][1:]

    @property
    def order_id(self):
        execution = self.event["InitialExecutionState"]["Operations"][0]
        return json.loads(execution["ExecutionDetails"]["InputPayload"])["orderId"]

    def __str__(self):
        """How far the execution had come: `enrich SUCCEEDED, wait STARTED`."""
        return ", ".join(f"{operation['Name']} {operation['Status']}" for operation in self.operations) or "nothing"


@dataclass(frozen=True)
class History:
    """One execution. Its process died after each checkpoint: it was invoked at every point it can be resumed from.

    `settings` are its version's environment variables that replay depends on; `outcome` is what the handler answered in
    the end: `Status`, and `Result` or `Error`.
    """

    name: str
    settings: dict
    invocations: tuple[Invocation, ...]
    outcome: dict

    @property
    def end(self):
        """The last invocation: every operation had ended, and only the answer was outstanding."""
        return self.invocations[-1]

    def write(self):
        content = asdict(self)
        del content["name"]
        (FOLDER / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n")


def histories():
    """Those that are kept, by name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.json"))}


def _read(path):
    content = json.loads(path.read_text())
    invocations = tuple(Invocation(**invocation) for invocation in content.pop("invocations"))
    return History(path.stem, invocations=invocations, **content)
