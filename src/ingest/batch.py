"""Processes the records of a batch in parallel, and gives back those that are not done before the deadline.

Powertools' `BatchProcessor` processes one record after another (its asynchronous form only helps code that does not
block), so one start that hangs would delay the whole batch. Its partial-batch response is used unchanged.
"""

from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

MAX_THREADS: Final = 32
"""More threads do not start executions faster: the CPU time of botocore is the limit. A client needs this many
connections."""

_NOT_DONE: Final = TimeoutError("not done before the function's deadline")


class ParallelBatchProcessor(BatchProcessor):
    """Powertools' processor for SQS, with a thread per record (at most `MAX_THREADS`) and a deadline.

    Each invocation needs its own: a thread that is still running must not see the next batch.
    """

    def __init__(self, logger: Logger, reserve_seconds: float) -> None:
        """`reserve_seconds`: how long before the function's timeout the wait for records ends."""
        super().__init__(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        self._logger = logger
        self._reserve_seconds = reserve_seconds
        self.outcomes: Counter[str] = Counter()
        """How often the handler returned each outcome, for the records that are done."""

    def process(self) -> list[tuple[Any, ...]]:
        """Call the handler for every record. A record is given back if it raised or is not done at the deadline."""
        records = [SQSRecord(record) for record in self.records]
        outcomes: list[str | Exception] = [_NOT_DONE] * len(records)
        # A thread takes the next record when it is done with one: this costs less than to hand each record to a thread.
        left = deque(enumerate(records))

        def take_records() -> None:
            while left:
                with suppress(IndexError):  # another thread took the last one
                    position, record = left.popleft()
                    outcomes[position] = self._handled(record)

        pool = ThreadPoolExecutor(max_workers=min(len(records), MAX_THREADS))
        threads: list[Future[None]] = []
        # Rejects are done so fast that the first threads leave nothing to the others.
        while left and len(threads) < MAX_THREADS:
            threads.append(pool.submit(take_records))
        wait(threads, timeout=self.lambda_context.get_remaining_time_in_millis() / 1000 - self._reserve_seconds)
        # A start that hangs may still succeed. Then the redelivered message joins its execution by the name.
        left.clear()
        pool.shutdown(wait=False, cancel_futures=True)
        return [self._outcome(record, outcome) for record, outcome in zip(records, list(outcomes), strict=True)]

    def _handled(self, record: SQSRecord) -> str | Exception:
        try:
            return str(self.handler(record))
        except Exception as error:  # noqa: BLE001  # each record has its own outcome
            return error

    def _outcome(self, record: SQSRecord, outcome: str | Exception) -> tuple[Any, ...]:
        if isinstance(outcome, str):
            self.outcomes[outcome] += 1
            return self.success_handler(record, outcome)
        if outcome is _NOT_DONE:
            # The handler logs the errors that it raises, but not this one.
            self._logger.warning("message given back", messageId=record.message_id, error=str(outcome))
        return self.failure_handler(record, (type(outcome), outcome, None))
