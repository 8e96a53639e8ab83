"""Recorded executions: the event of each invocation, and the outcome. `make record` writes them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("histories")


@dataclass(frozen=True)
class Invocation:
    """The event of one invocation, and the order's ledger item at that time as JSON data, or None."""

    event: dict
    ledger: dict | None

    @property
    def operations(self):
        """The checkpointed operations, without the first one, which is the execution itself with its payload."""
        return self.event["InitialExecutionState"]["Operations"][1:]

    @property
    def order_id(self):
        execution = self.event["InitialExecutionState"]["Operations"][0]
        return json.loads(execution["ExecutionDetails"]["InputPayload"])["orderId"]

    def __str__(self):
        """The progress of the execution: `enrich SUCCEEDED, wait STARTED`."""
        return ", ".join(f"{operation['Name']} {operation['Status']}" for operation in self.operations) or "nothing"


@dataclass(frozen=True)
class History:
    """One execution. Its process died after each checkpoint, so there is one invocation for each resume point.

    `settings` are the environment variables of its version that a replay depends on. `outcome` is the last response of
    the handler: `Status`, and `Result` or `Error`.
    """

    name: str
    settings: dict
    invocations: tuple[Invocation, ...]
    outcome: dict

    @property
    def end(self):
        """The last invocation: every operation has ended, and only the response is missing."""
        return self.invocations[-1]

    def write(self):
        content = asdict(self)
        del content["name"]
        (FOLDER / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n")


def histories():
    """Return the recorded histories by name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.json"))}


def _read(path):
    content = json.loads(path.read_text())
    invocations = tuple(Invocation(**invocation) for invocation in content.pop("invocations"))
    return History(path.stem, invocations=invocations, **content)
