"""The pipeline without one mechanism: a seed must detect each missing mechanism."""

from dataclasses import dataclass
from typing import Final

from tests.faults.seeded.run import Outcome, Say, run
from tests.faults.seeded.sources import Edit

MAX_SEEDS: Final = 4
WAIT_TIMEOUT_SECONDS: Final = 45
"""Shorter than in other runs: a broken pipeline lets many waits time out."""

LEDGER: Final = "src/shared/ledger/owner.py"


@dataclass(frozen=True)
class Mutant:
    """`without` names the mechanism, `edits` remove it."""

    without: str
    edits: tuple[Edit, ...]


MUTANTS: Final = (
    Mutant(
        "the ARN in the condition",
        (
            Edit(
                LEDGER,
                """Condition(f"executionArn = :me AND #state IN ({', '.join(before)})", {":me": me.arn, **before})""",
                """Condition(f"#state IN ({', '.join(before)})", before)""",
            ),
        ),
    ),
    Mutant(
        "the predecessor check",
        (
            Edit(
                LEDGER,
                """Condition(f"executionArn = :me AND #state IN ({', '.join(before)})", {":me": me.arn, **before})""",
                """Condition("executionArn = :me", {":me": me.arn})""",
            ),
        ),
    ),
    Mutant(
        "named starts",
        (Edit("src/shared/executions/client.py", "                DurableExecutionName=str(name),\n", ""),),
    ),
    Mutant(
        "partial batch answers",
        (
            Edit(
                "src/ingest/handler.py",
                "    return response",
                '    return {"batchItemFailures": []}',
            ),
        ),
    ),
    Mutant(
        "the reconciler",
        (
            Edit(
                "src/reconciler/handler.py",
                '_examiner.examine_execution(detail["durableExecutionArn"], detail["status"])',
                "str(detail)",
            ),
        ),
    ),
    Mutant(
        "the sweep",
        (
            Edit(
                "src/reconciler/handler.py",
                "    return _sweep.run(\n        lambda:",
                '    return {"cases": 0, "failed": 0, "left": 0}\n    _sweep.run(\n        lambda:',
            ),
        ),
    ),
    Mutant(
        "the settlement of successes",
        (
            Edit(
                "src/reconciler/examiner.py",
                "        self._settle_success(details)\n        return None\n",
                "        return None\n",
            ),
        ),
    ),
    Mutant(
        "the redelivery of events",
        (
            Edit(
                "src/publisher/handler.py",
                '    failures = [] if published.failed is None else [{"itemIdentifier": published.failed}]\n',
                "    failures: list[Any] = []\n",
            ),
        ),
    ),
    Mutant("the recorded enrichment", (Edit(LEDGER, "if State.ENRICHED in found.reached:", "if found.version < 0:"),)),
    Mutant("the cap on starts", (Edit(LEDGER, "if found.starts >= MAX_STARTS:", "if found.starts < 0:"),)),
)


def find_seed(mutant: Mutant, orders: int, say: Say) -> Outcome:
    """The outcome of the first seed with a violation, else of the last seed."""
    for seed in range(1, MAX_SEEDS + 1):
        outcome = run(
            seed, orders, mutant.edits, lambda what, seed=seed: say(f"seed {seed}: {what}"), WAIT_TIMEOUT_SECONDS
        )
        if outcome.violations:
            break
    return outcome


def clearest_violation(violations: list[str]) -> str:
    """The violation to show: a finding of the checks says more than a script's timeout."""
    return min(violations, key=lambda sentence: "Stuck" in sentence)
