"""Polls DynamoDB streams for event source mappings, each on a thread of its own.

MiniStack invokes their functions on the thread that polls the queues, so a slow function delays every queue. It also
ignores ReportBatchItemFailures, BisectBatchOnFunctionError and MaximumRetryAttempts. A batch window is not waited for:
the thread that polls looks at a stream once a second when nothing else happens.
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from .patching import Original, Patch

logger = logging.getLogger(__name__)

LAMBDA = "ministack.services.lambda_svc"
DYNAMODB = "ministack.services.dynamodb"
ENDLESS = (None, -1)

patch = Patch(__name__)
mappings = patch.uses(LAMBDA, "_iter_all_esms")
account_id = patch.uses(LAMBDA, "_request_account_id")
region = patch.uses(LAMBDA, "_request_region")
table_in = patch.uses(LAMBDA, "_dynamodb_stream_table_from_arn_spec")
parse_arn = patch.uses(LAMBDA, "parse_arn")
find = patch.uses(LAMBDA, "_get_func_record_for_qualifier")
positions = patch.uses(LAMBDA, "_dynamodb_stream_positions")
positions_lock = patch.uses(LAMBDA, "_dynamodb_stream_positions_lock")
filtered = patch.uses(LAMBDA, "_apply_filter_criteria")
execute = patch.uses(LAMBDA, "_execute_function")
report_failure = patch.uses(LAMBDA, "_send_ddb_stream_failure_record")
backoff_seconds = patch.uses(LAMBDA, "_ESM_BACKOFF_SECONDS")
tables = patch.uses(DYNAMODB, "_tables")
start_of = patch.uses(DYNAMODB, "stream_start_position")
end_of = patch.uses(DYNAMODB, "stream_end_position")
records_since = patch.uses(DYNAMODB, "stream_records_since")

_readers: dict[str, Reader] = {}


@patch.replaces(LAMBDA, "_poll_dynamodb_streams")
def poll(_original: Original) -> bool:
    """Starts the thread of each mapping that has records and no running thread."""
    for account, where, mapping in mappings.call():
        if ":dynamodb:" not in mapping.get("EventSourceArn", "") or not mapping.get("Enabled", True):
            continue
        reader = _readers.setdefault(mapping["UUID"], Reader(account, where, mapping))
        reader.mapping = mapping
        reader.start()
    return False


class Reader:
    """Reads one stream for one mapping, batch after batch, until it is read or a batch fails."""

    def __init__(self, account: str, where: str, mapping: dict[str, Any]) -> None:
        self.mapping = mapping
        self._scope = account, where
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        self._tries = 0
        self._most: int | None = None  # records of a batch that is bisected

    def start(self) -> None:
        """Reads on a thread, unless one runs or the last failure was just now."""
        if time.time() < self._not_before or (self._thread is not None and self._thread.is_alive()):
            return
        tokens = account_id.get().set(self._scope[0]), region.get().set(self._scope[1])
        try:
            if not self._has_records():
                return
        finally:
            account_id.get().reset(tokens[0])
            region.get().reset(tokens[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        account_id.get().set(self._scope[0])
        region.get().set(self._scope[1])
        try:
            while self.mapping.get("Enabled", True) and self._one_batch():
                pass
        except Exception:
            logger.exception("the stream of mapping %s could not be read", self.mapping["UUID"])
            self._not_before = time.time() + backoff_seconds.get()

    def _table(self) -> str | None:
        source = self.mapping["EventSourceArn"]
        found = table_in.call(parse_arn.call(source))
        name = found[0] if found else None
        table = tables.get().get(name) if name else None
        return name if table and table.get("LatestStreamArn") == source else None

    def _position(self, table: str) -> int:
        """Where to read from. Expired records are skipped."""
        with positions_lock.get():
            known = positions.get()
            if self.mapping["UUID"] not in known:
                from_start = self.mapping.get("StartingPosition") == "TRIM_HORIZON"
                known[self.mapping["UUID"]] = start_of.call(table) if from_start else end_of.call(table)
            known[self.mapping["UUID"]] = max(known[self.mapping["UUID"]], start_of.call(table))
            return int(known[self.mapping["UUID"]])

    def _has_records(self) -> bool:
        table = self._table()
        return table is not None and self._position(table) < end_of.call(table)

    def _one_batch(self) -> bool:
        """Whether to go on at once."""
        table = self._table()
        if table is None:
            return False
        function, _ = find.call(self.mapping["FunctionName"], self.mapping.get("Qualifier"))
        position = self._position(table)
        limit = min(int(self.mapping.get("BatchSize", 100)), self._most or 10_000)
        read = records_since.call(table, position, limit)
        if function is None or not read:
            return False
        batch = filtered.call(read, self.mapping)
        result = execute.call(function, {"Records": batch}) if batch else {}
        after = position + len(read)
        failed = first_failure(result, batch, self.mapping)
        if failed is None:
            self._advance(after)
            return True
        if failed > 0:
            self._advance(position + read.index(batch[failed]))
            batch = batch[failed:]
        splits = result.get("error") and self.mapping.get("BisectBatchOnFunctionError") and len(batch) > 1
        if splits:
            self._most = (len(batch) + 1) // 2
        else:  # a split does not count towards the retries
            self._tries += 1
        if self._is_given_up(batch):
            condition = "RetryAttemptsExhausted" if self._has_no_tries() else "MaxRecordAgeExceeded"
            report_failure.call(self.mapping, function, batch, self.mapping["EventSourceArn"], result, condition)
            self._advance(after)
            return True
        self.mapping["LastProcessingResult"] = "FAILED"
        self._not_before = time.time() + backoff_seconds.get()
        return False

    def _advance(self, position: int) -> None:
        with positions_lock.get():
            positions.get()[self.mapping["UUID"]] = position
        self._tries, self._most, self._not_before = 0, None, 0.0
        self.mapping["LastProcessingResult"] = "OK"

    def _has_no_tries(self) -> bool:
        most = self.mapping.get("MaximumRetryAttempts")
        return most not in ENDLESS and self._tries > int(most)

    def _is_given_up(self, batch: list[dict[str, Any]]) -> bool:
        most_age = self.mapping.get("MaximumRecordAgeInSeconds")
        if most_age not in ENDLESS:
            oldest = min(float(record["dynamodb"]["ApproximateCreationDateTime"]) for record in batch)
            if time.time() - oldest > int(most_age):
                return True
        return self._has_no_tries()


def first_failure(result: dict[str, Any], batch: list[dict[str, Any]], mapping: dict[str, Any]) -> int | None:
    """The index of the first record to deliver again, or None. An answer that names no record of the batch: all."""
    if result.get("error"):
        return 0
    if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
        return None
    try:
        body = result.get("body")
        answer = json.loads(body) if isinstance(body, str | bytes) and body else body
        names = [failure["itemIdentifier"] for failure in (answer or {}).get("batchItemFailures") or []]
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        return min((numbers.index(name) for name in names), default=None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0
