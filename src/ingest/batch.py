"""A batch worked in parallel, each record on its own, and what was not finished in time given back.

Powertools' `BatchProcessor` works records one after another (its asynchronous form helps only code that does not
block), so one start that hangs would hold up the whole batch. Its partial-batch response is kept.
"""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

MAX_THREADS: Final = 32
"""More do not start executions faster: botocore's CPU is the limit. Clients need a connection pool of this size."""

_NOT_DONE: Final = TimeoutError("not done before the function's deadline")


class ParallelBatchProcessor(BatchProcessor):
    """Powertools' processor for SQS with a thread a record, up to `MAX_THREADS`, and a deadline.

    One for each invocation: a thread that outlives its batch must find nothing of the next one.
    """

    def __init__(self, logger: Logger, reserve_s: float) -> None:
        """`reserve_s`: how long before the function's own timeout to stop waiting, in seconds."""
        super().__init__(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        self._logger = logger
        self._reserve_s = reserve_s

    def process(self) -> list[tuple[Any, ...]]:
        """Call the record handler for every record; one that raised, or is not done at the deadline, is given back."""
        records = [SQSRecord(record) for record in self.records]
        pool = ThreadPoolExecutor(max_workers=min(len(records), MAX_THREADS) or 1)
        futures = [pool.submit(self.handler, record) for record in records]
        wait(futures, timeout=self.lambda_context.get_remaining_time_in_millis() / 1000 - self._reserve_s)
        # What hangs is left behind: whatever it still starts, the redelivery joins by its name.
        pool.shutdown(wait=False, cancel_futures=True)
        return [self._outcome(record, future) for record, future in zip(records, futures, strict=True)]

    def _outcome(self, record: SQSRecord, future: Future[None]) -> tuple[Any, ...]:
        error = future.exception() if future.done() and not future.cancelled() else _NOT_DONE
        if error is None:
            return self.success_handler(record, None)
        if error is _NOT_DONE:
            # Whatever a handler raises, it has logged; of this nobody else knows.
            self._logger.warning("message given back", messageId=record.message_id, error=str(error))
        return self.failure_handler(record, (type(error), error, None))
