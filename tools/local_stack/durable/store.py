"""Where executions are: in memory, and in a file as well when the stack keeps its state.

The runner's own SQLite store reads and parses an execution anew for whoever looks at it, which is once per
request and timer. Here the file is only written while the stack runs, and read when it starts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from datetime import datetime
from typing import TYPE_CHECKING

from aws_durable_execution_sdk_python_testing.stores.memory import InMemoryExecutionStore

from tools.local_stack.durable.record import ExecutionRecord
from tools.local_stack.errors import LocalStackError

if TYPE_CHECKING:
    from pathlib import Path

    from aws_durable_execution_sdk_python_testing.execution import Execution

SCHEMA = """
    CREATE TABLE IF NOT EXISTS executions (arn TEXT PRIMARY KEY, record TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS clock (only INTEGER PRIMARY KEY CHECK (only = 1), now TEXT NOT NULL);
"""


class Store(InMemoryExecutionStore):
    """The executions of the stack; what is in `journal` is read at once. Raises LocalStackError if it cannot be."""

    def __init__(self, journal: Path | None = None) -> None:
        super().__init__()
        self._journal: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        if journal is None:
            return
        journal.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._journal = sqlite3.connect(journal, check_same_thread=False, isolation_level=None)
            # What is written survives the end of the process at any instant, though not the end of the machine.
            self._journal.execute("PRAGMA journal_mode = WAL")
            self._journal.execute("PRAGMA synchronous = NORMAL")
            self._journal.executescript(SCHEMA)
            for (record,) in self._journal.execute("SELECT record FROM executions"):
                super().save(ExecutionRecord.from_json_dict(json.loads(record)))
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            message = f"the kept executions cannot be read ({error!r}); remove {journal.parent} to start without"
            raise LocalStackError(message) from error

    def save(self, execution: Execution) -> None:
        """Keeps the execution as it is now."""
        super().save(execution)
        if self._journal is not None:
            self._write(
                "INSERT OR REPLACE INTO executions VALUES (?, ?)",
                (execution.durable_execution_arn, json.dumps(execution.to_json_dict())),
            )

    def update(self, execution: Execution) -> None:
        """The same: the runner has two names for it."""
        self.save(execution)

    def load(self, execution_arn: str) -> ExecutionRecord:
        """The one of that ARN; raises KeyError."""
        record = super().load(execution_arn)
        assert isinstance(record, ExecutionRecord)
        return record

    def list_all(self) -> list[Execution]:
        """All of them, in the order in which they came."""
        return super().list_all()

    def records(self) -> list[ExecutionRecord]:
        """All of them, by the type that they have."""
        return [record for record in self.list_all() if isinstance(record, ExecutionRecord)]

    def delete(self, execution_arn: str) -> None:
        """Forgets the one of that ARN."""
        with self._lock:
            self._store.pop(execution_arn, None)
        self._write("DELETE FROM executions WHERE arn = ?", (execution_arn,))

    def clock(self) -> datetime | None:
        """The time at which the stack was last seen running; None for a first start."""
        with self._writing:
            row = self._journal.execute("SELECT now FROM clock").fetchone() if self._journal else None
        return datetime.fromisoformat(row[0]) if row else None

    def keep_clock(self, now: datetime) -> None:
        """Remembers the time, so that it does not run backwards when the stack starts again."""
        self._write("INSERT OR REPLACE INTO clock VALUES (1, ?)", (now.isoformat(),))

    def _write(self, statement: str, values: tuple[str, ...]) -> None:
        with self._writing:
            if self._journal is not None:
                self._journal.execute(statement, values)

    def close(self) -> None:
        """Ends the writing; what happens to executions from now on is in memory only."""
        with self._writing:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
