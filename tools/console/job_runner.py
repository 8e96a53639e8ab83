"""Runs jobs in the background of the console. A job that the console leaves unfinished can be resumed by anyone."""

import logging
import threading
from typing import Final

from durable_local.console.problem import FAILURES, problem_of
from reconciler.pace import Pace
from tools.console.desk import Desk
from tools.operations.bulk import action_of
from tools.operations.jobs import ACTIONS_PER_SECOND, Job
from tools.orders_cli.bulk import counted
from tools.orders_cli.connection import Connection

logger = logging.getLogger(__name__)


class JobRunner:
    """The jobs that this console works on. They share one pace, because an account's quota is for all of them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pace: Final = Pace(ACTIONS_PER_SECOND)
        self._running: set[str] = set()
        self._stopped: dict[str, str] = {}

    def start(self, job: Job) -> None:
        """Work on the job until it ends, is aborted or fails; at most once at a time."""
        if job.handle in self._running:
            return
        self._running.add(job.handle)
        self._stopped.pop(job.handle, None)
        # A daemon: Ctrl-C ends the console at once, and the job can be resumed.
        threading.Thread(target=self._run, args=(job, self._desk.connection), daemon=True).start()

    def is_running(self, handle: str) -> bool:
        """Whether this console works on the job now."""
        return handle in self._running

    def stopped(self, handle: str) -> str | None:
        """Why this console stopped to work on the job before its end, if it did."""
        return self._stopped.get(handle)

    def _run(self, job: Job, connection: Connection) -> None:
        what = f"job {job.handle}: {job.chosen}"
        try:
            with self._desk.action(job.action, what):
                act = action_of(job, connection.ledger, connection.executions, connection.running)
                for _ in connection.jobs.run(job, act, self._pace):
                    pass
                ended = connection.jobs.get(job.handle) or job
                text = ", ".join(
                    f"{count} {name}" for name, count in counted(connection.jobs.counts(job.handle)).items()
                )
            self._desk.record(job.action, what, f"{ended.status}: {text}")
        except FAILURES as error:
            self._stopped[job.handle] = str(problem_of(error))
        except Exception as error:
            logger.exception("job %s cannot be continued", job.handle)
            self._stopped[job.handle] = f"The console has an error ({type(error).__name__})."
            self._desk.record(job.action, what, self._stopped[job.handle])
        finally:
            self._running.discard(job.handle)
