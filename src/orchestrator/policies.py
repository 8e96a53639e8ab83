"""Retry policies, by name, and the steps that use them.

Every step names its policy: left out, the SDK tries six times on any error at all, bad input included. A policy sees
the error, so inside one step the enricher gets its three attempts and the ledger as long as an outage may last.
Each retry is one metered operation.
"""

from collections.abc import Callable

from aws_durable_execution_sdk_python.config import Duration, JitterStrategy, StepConfig
from aws_durable_execution_sdk_python.retries import RetryDecision, RetryStrategyConfig, create_retry_strategy

from shared.errors import EnricherUnavailable, LedgerUnavailable

RetryPolicy = Callable[[Exception, int], RetryDecision]
"""Given the error and how many attempts the step has made, whether to try again and when."""

ENRICHER: RetryPolicy = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=3,
        initial_delay=Duration.from_seconds(1),
        backoff_rate=2.0,
        jitter_strategy=JitterStrategy.NONE,
    )
)
"""Three calls of the enricher: at once, after 1 s, after 2 s more."""

LEDGER: RetryPolicy = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=12,
        initial_delay=Duration.from_seconds(1),
        max_delay=Duration.from_minutes(1),
        backoff_rate=2.0,
        jitter_strategy=JitterStrategy.HALF,
    )
)
"""An outage of the ledger of three to six minutes: 1, 2, 4 … 60 s apart, each between half and the whole of it. Twice
that, for two steps, fits into the default execution timeout."""

LAST_WORD: RetryPolicy = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=6,
        initial_delay=Duration.from_seconds(1),
        max_delay=Duration.from_seconds(10),
        backoff_rate=2.0,
        jitter_strategy=JitterStrategy.HALF,
    )
)
"""Half a minute to write why an order failed. Where that fails too, the execution's own end says it."""


def enriching(error: Exception, attempts_made: int) -> RetryDecision:
    """The enrich step's policy: transient errors only, each by its own count."""
    match error:
        case EnricherUnavailable():
            # What the ledger failed before the enricher was called does not count; an answer it then failed to record
            # does: three calls are three calls.
            return ENRICHER(error, min(attempts_made, error.calls))
        case LedgerUnavailable():
            return LEDGER(error, attempts_made)
        case _:
            return RetryDecision.no_retry()


def recording(error: Exception, attempts_made: int) -> RetryDecision:
    """The policy of a step that only writes to the ledger."""
    return LEDGER(error, attempts_made) if isinstance(error, LedgerUnavailable) else RetryDecision.no_retry()


def recording_failure(error: Exception, attempts_made: int) -> RetryDecision:
    """The policy of the step that records a failure."""
    return LAST_WORD(error, attempts_made) if isinstance(error, LedgerUnavailable) else RetryDecision.no_retry()


ENRICH = StepConfig(retry_strategy=enriching)
FINALIZE = StepConfig(retry_strategy=recording)
RECORD_FAILURE = StepConfig(retry_strategy=recording_failure)
