"""Retry policies: which errors of a step are retried, how often, and after how long.

A policy sees the error. So in one step, a failing enricher is called three times, while an outage of the ledger is
retried for minutes. Each retry is one metered operation.
"""

from collections.abc import Callable

from aws_durable_execution_sdk_python.config import Duration, JitterStrategy
from aws_durable_execution_sdk_python.retries import RetryDecision, RetryStrategyConfig, create_retry_strategy

from shared.errors import EnricherUnavailable, LedgerUnavailable

RetryPolicy = Callable[[Exception, int], RetryDecision]
"""Takes the error and the number of attempts so far. Returns whether to retry, and after how many seconds."""

_ENRICHER: RetryPolicy = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=3,
        initial_delay=Duration.from_seconds(1),
        backoff_rate=2.0,
        jitter_strategy=JitterStrategy.NONE,
    )
)
"""Three calls: the second after 1 s, the third after 2 s more."""

_LEDGER: RetryPolicy = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=12,
        initial_delay=Duration.from_seconds(1),
        max_delay=Duration.from_minutes(1),
        backoff_rate=2.0,
        jitter_strategy=JitterStrategy.HALF,
    )
)
"""Twelve attempts over three to six minutes: delays of 1, 2, 4 … 60 s, each shortened at random by up to half. Two
steps with this policy fit into the default execution timeout."""

_LEDGER_BRIEFLY: RetryPolicy = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=6,
        initial_delay=Duration.from_seconds(1),
        max_delay=Duration.from_seconds(10),
        backoff_rate=2.0,
        jitter_strategy=JitterStrategy.HALF,
    )
)
"""Six attempts in at most half a minute."""


def enrich(error: Exception, attempts_made: int) -> RetryDecision:
    """Retry transient errors of the enricher and of the ledger, each with its own count."""
    match error:
        case EnricherUnavailable():
            # A step attempt in which the ledger failed first did not call the enricher, so `calls` is the lower count.
            # After a process died, `calls` includes its call too, and the step's attempts are the lower count.
            return _ENRICHER(error, min(attempts_made, error.calls))
        case LedgerUnavailable():
            return _LEDGER(error, attempts_made)
        case _:
            return RetryDecision.no_retry()


def write_ledger(error: Exception, attempts_made: int) -> RetryDecision:
    """Retry transient errors of the ledger. For a step that only writes to the ledger."""
    return _LEDGER(error, attempts_made) if isinstance(error, LedgerUnavailable) else RetryDecision.no_retry()


def record_failure(error: Exception, attempts_made: int) -> RetryDecision:
    """Retry transient errors of the ledger for half a minute. The failed execution reports the same error anyway."""
    return _LEDGER_BRIEFLY(error, attempts_made) if isinstance(error, LedgerUnavailable) else RetryDecision.no_retry()
