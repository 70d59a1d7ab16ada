"""The dispatcher: takes tasks up, has them done by a pool or a cluster, and brings them to their final state.

Two threads of its own. One takes tasks up: when it is woken by a new task, and every few seconds for those that another
server left. The other renews the leases of the tasks under way. The work itself is done by the executor, `perform` in
`work.py`, and its end comes back as a callback on one of the executor's threads.

    pending ── claim ──▶ processing ── perform ──▶ finish ──▶ success or failure
       ▲                     │ lease lapses: the server is gone, or too slow
       └─────────────────────┘

Invariants:

* A task is in `_running` from the moment it is claimed until it is finished, given back, or lost. Only what is in it
  gets its lease renewed.
* Before a worker may write, its attempt is entered in the database (`remains`), so that whatever a crash leaves can be
  found again and belongs to nobody else.
* `finish` moves a task only if this attempt still owns it. A server that was stalled loses that race, its result is
  thrown away, and `lost` counts it.
* `stop` gives back what is not done in time. That costs the task no attempt.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vhdcheck.errors import SourceError, VhdcheckError
from vhdcheck.redaction import hidden, redacted
from vhdcheck.sources.failures import reason, secrets_in
from vhdcheck.tasks import images
from vhdcheck.tasks.objects import Stopped
from vhdcheck.tasks.remains import MAY_LEAVE, MOST, OverQuota
from vhdcheck.tasks.sweep import mark, sweep
from vhdcheck.tasks.task import QUOTA, Kind, Outcome
from vhdcheck.tasks.work import Job, perform

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdcheck.tasks.observe import Metrics
    from vhdcheck.tasks.settings import Settings
    from vhdcheck.tasks.store import TaskStore
    from vhdcheck.tasks.task import Task

LOG: Final = logging.getLogger("vhdcheck.tasks")
LOOK: Final = 1.0
"""Seconds between two looks for tasks of which nobody told: other servers' and lapsed ones."""
FORGET: Final = 60.0
"""Seconds between two deletions of expired tasks."""
SECOND: Final = 1_000_000


class Dispatcher:
    """One for each server. Several servers may share a database."""

    def __init__(self, store: TaskStore, settings: Settings, metrics: Metrics) -> None:
        """Prepare; `start` begins."""
        self._store, self._settings, self._metrics = store, settings, metrics
        self._shared = settings.model_copy(update={"database": ""})  # workers elsewhere need no way into it
        self._lease = int(settings.lease_seconds * SECOND)
        self._keep = int(settings.expire_hours * 3600 * SECOND)
        self._running: dict[str, Task] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._unswept = False
        self._exits = ExitStack()
        self._slots = settings.workers
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._dispatch, self._sign)]

    def start(self) -> None:
        """See that the image store is this database's, clear away what dead workers left, and begin.

        Raises:
            UsageError: no such executor; or the image store is another database's.
            SourceError: the cluster cannot be reached.
        """
        self._mark()
        self._sweep()
        if self._settings.executor:
            from vhdcheck.engine.executors import dask  # an extra

            self._executor, self._slots = self._exits.enter_context(dask(self._settings.executor))
            self._do: Callable[[Job], Future[Outcome]] = lambda job: self._executor.submit(perform, job)
        else:
            self._executor = ThreadPoolExecutor(self._slots, thread_name_prefix="work")
            self._do = lambda job: self._executor.submit(perform, job, lambda: self._is_mine(job.task))
        for thread in self._threads:
            thread.start()

    _executor: Executor

    def _mark(self) -> None:
        place = self._settings.images_place
        try:
            mark(images.of(self._settings), place, self._store)
        except VhdcheckError:
            raise
        except Exception as error:  # noqa: BLE001 (each driver has its own, whose text may hold what is secret)
            why = reason(error, quote=True, secrets=[*hidden(place), *secrets_in("", {})])
        else:
            return
        raise SourceError(f"the image store {redacted(place)}: {why}")  # out here it has no context

    def wake(self) -> None:
        """Tell of a new task."""
        self._wake.set()

    def is_alive(self) -> bool:
        """Say whether tasks are being taken up."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Take no more tasks up, wait a while for those under way, and give the others back."""
        self._stopping.set()
        self._wake.set()
        self._threads[0].join()
        for _ in range(int(self._settings.grace_seconds * 20)):
            if not self._running:
                break
            time.sleep(0.05)
        self._abandoned.set()
        with self._lock:
            left = list(self._running.values())
            self._running.clear()
        if left:
            self._store.release(left)
            LOG.warning("stopped with %d tasks under way; they will be taken up again", len(left))
        if isinstance(self._executor, ThreadPoolExecutor):
            self._executor.shutdown()
        self._exits.close()
        self._threads[1].join()

    def _is_mine(self, task: Task) -> bool:
        return not self._abandoned.is_set() and self._running.get(task.id) is task

    def _dispatch(self) -> None:
        forgot = -FORGET
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if time.monotonic() - forgot > FORGET:
                    forgot = time.monotonic()
                    self._store.forget()
                    self._unswept = True
                if self._unswept:
                    self._sweep()
                self._take_up()
            except Exception:
                LOG.exception("tasks could not be taken up")
            self._wake.wait(LOOK)

    def _take_up(self) -> None:
        limits = self._settings.max_attempts
        for task_id in self._store.give_up(self._keep, limits):
            LOG.error("given up", extra={"task": task_id})
        free = self._slots - len(self._running)
        if free <= 0:
            return
        claimed = self._store.claim(self._lease, free, limits)
        taken = [replace(task, seed=f" {uuid.uuid4()}") for task in claimed]
        self._store.remains.begin(taken)
        for task in taken:
            LOG.info("taken up", extra={"task": task.id, "tenant": task.owner, "attempt": task.attempt})
            with self._lock:
                self._running[task.id] = task
            try:
                self._begin(task)
            except BaseException:  # its lease will lapse
                with self._lock:
                    self._running.pop(task.id, None)
                raise

    def _begin(self, task: Task) -> None:
        image = None
        wanted = task.input.get("image_uuid")
        if task.type == Kind.EXPORT and isinstance(wanted, str) and wanted.isascii():
            image = self._store.catalog.image(task.owner, wanted.lower().replace("\0", ""))
        room = self._store.remains.room(task.owner, self._settings.quota) if task.type == Kind.IMPORT else None
        future = self._do(Job(task, self._shared, image, room))
        future.add_done_callback(lambda done: self._finish(task, done))

    def _finish(self, task: Task, done: Future[Outcome]) -> None:
        """Bring a task to its final state, if it is still ours."""
        try:
            outcome = done.result()
            try:
                is_final = self._store.finish(task, outcome, self._keep, self._settings.quota)
            except OverQuota:
                outcome = replace(outcome, message=QUOTA, result=None, image=None)
                is_final = self._store.finish(task, outcome, self._keep)
            if is_final:
                self._note(task, outcome)
            else:
                self._metrics.lost.inc()
                LOG.warning("lost its lease", extra={"task": task.id, "attempt": task.attempt})
                self._store.remains.again(task.image_id)
            self._unswept |= task.attempt > 1 or not is_final or outcome.message in MAY_LEAVE
        except (Stopped, CancelledError):
            LOG.info("stopped", extra={"task": task.id, "attempt": task.attempt})
        except Exception:  # a worker died, or the database is away: when the lease lapses the task is taken up again
            LOG.exception("an attempt failed", extra={"task": task.id, "attempt": task.attempt})
        finally:
            with self._lock:
                if self._running.get(task.id) is task:
                    del self._running[task.id]
            self._wake.set()

    def _note(self, task: Task, outcome: Outcome) -> None:
        code = match[1] if (match := re.match(r"(\d{3}): ", outcome.message)) else ""
        self._metrics.finished.labels(task.type, outcome.status, code).inc()
        LOG.info("finished", extra={"task": task.id, "status": outcome.status.value, "reason": outcome.message})

    def _sign(self) -> None:
        """Renew the leases three times in their length."""
        while not self._abandoned.wait(self._settings.lease_seconds / 3):
            with self._lock:
                tasks = list(self._running.values())
            try:
                self._store.renew(tasks, self._lease)
            except Exception:
                LOG.exception("leases could not be renewed")

    def _sweep(self) -> None:
        """Delete what remains of attempts and of deleted images."""
        self._unswept = False
        due = self._store.remains.due()
        if due and sweep(due, self._store.remains, self._settings) and len(due) == MOST:
            self._unswept = True
