"""The pipeline with one mechanism taken out: some seed must notice each absence."""

from dataclasses import dataclass
from typing import Final

from tests.faults.seeded.run import Outcome, Say, run
from tests.faults.seeded.sources import Edit

MOST_SEEDS: Final = 4
PATIENCE_SECONDS: Final = 45
"""What is broken is waited for in vain, again and again."""

LEDGER: Final = "src/shared/ledger/owner.py"


@dataclass(frozen=True)
class Mutant:
    """`without` names the mechanism, `edits` takes it out."""

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
                "    return process_partial_response(event, _intake.take, processor, context)",
                "    process_partial_response(event, _intake.take, processor, context)\n"
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
                "return _sweep.run(lambda: context.get_remaining_time_in_millis() / 1000)",
                'return {"cases": 0, "failed": 0, "left": 0}',
            ),
        ),
    ),
    Mutant("the recorded enrichment", (Edit(LEDGER, "if State.ENRICHED in found.reached:", "if found.version < 0:"),)),
    Mutant("the cap on starts", (Edit(LEDGER, "if found.starts >= MAX_STARTS:", "if found.starts < 0:"),)),
)


def hunt(mutant: Mutant, orders: int, say: Say) -> Outcome:
    """The first seed's outcome that has a violation, or the last one's."""
    for seed in range(1, MOST_SEEDS + 1):
        outcome = run(seed, orders, mutant.edits, lambda what, seed=seed: say(f"seed {seed}: {what}"), PATIENCE_SECONDS)
        if outcome.violations:
            break
    return outcome


def clearest(violations: list[str]) -> str:
    """The violation to show: what was found in the end says more than what a script waited for in vain."""
    return min(violations, key=lambda sentence: "Stuck" in sentence)
