"""The store: moves, leases, pages, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed (extra tasks)")

import sqlalchemy as sa

from vhdcheck.tasks import catalog
from vhdcheck.tasks.database import Database
from vhdcheck.tasks.paging import UnknownMarker
from vhdcheck.tasks.states import FINAL, MOVES, Status, before
from vhdcheck.tasks.store import SORT_KEYS, TaskStore
from vhdcheck.tasks.tables import TASKS
from vhdcheck.tasks.task import GAVE_UP, Kind, Outcome, Query, Stored, Task, full, new

MANY = 10**9
LATER = 1 << 60


class Clock:
    """The database's clock, as a test sets it."""

    moment = 0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str, clock: Clock) -> Iterator[TaskStore]:
    """An empty store, whose clock a test sets."""
    now = sa.bindparam("clock", type_=sa.BigInteger, callable_=lambda: clock.moment)
    ours = TaskStore(Database(database, now))
    yield ours
    ours.database.close()


def made(store: TaskStore, owner: str = "one", kind: Kind = Kind.IMPORT) -> Task:
    task = store.create(new(kind, owner, {"import_from": "a/b"}), MANY)
    assert task is not None
    return task


def image_of(task: Task) -> Stored:
    return Stored(task.image_id, task.owner, "nul \0", 11, 2, 3, "0" * 64)


def test_states_move_forward_only() -> None:
    assert before(Status.PENDING) == []
    assert before(Status.PROCESSING) == [Status.PENDING]
    assert before(Status.SUCCESS) == [Status.PROCESSING]
    assert before(Status.FAILURE) == [Status.PENDING, Status.PROCESSING]
    assert all(not MOVES[status] for status in FINAL)


def test_a_task_goes_its_way(store: TaskStore, clock: Clock) -> None:
    clock.moment = 5
    task = made(store)
    assert store.get("one", task.id) == task
    assert (task.created_at, task.updated_at) == (5, 5)
    clock.moment = 10
    (taken,) = store.claim(10, 5, 3)
    assert (taken.id, taken.status, taken.attempt, taken.updated_at) == (task.id, Status.PROCESSING, 1, 10)
    assert store.claim(10, 5, 3) == []
    clock.moment = 11
    image = image_of(taken)
    assert store.finish(taken, Outcome(result={"image_id": image.id}, image=image, findings=[]), 100)
    clock.moment = 110
    done = store.get("one", task.id)
    assert done is not None
    assert full(done)["result"] == {"image_id": image.id}
    assert (done.status, done.updated_at, done.expires_at) == (Status.SUCCESS, 11, 111)
    assert store.catalog.image("one", image.id) == image
    assert store.catalog.image("two", image.id) is None
    assert store.get("two", task.id) is None


def test_who_asked_is_kept(store: TaskStore) -> None:
    task = store.create(new(Kind.IMPORT, "one", {}, user_id="somebody", request_id="req-1"), 1)
    assert task is not None
    assert store.get("one", task.id) == task
    assert (task.user_id, task.request_id) == ("somebody", "req-1")


def test_a_final_state_is_final(store: TaskStore, clock: Clock) -> None:
    made(store)
    (taken,) = store.claim(10, 1, 3)
    assert store.finish(taken, Outcome("no"), 2000)
    assert not store.finish(taken, Outcome(result={}, image=image_of(taken)), 2000)
    assert store.catalog.images("one", Query(10)) == []
    clock.moment = 1000
    assert store.claim(1, 1, 3) == []


def test_a_task_expires_on_the_moment_and_its_image_stays(store: TaskStore, clock: Clock) -> None:
    clock.moment = 11
    task = made(store)
    (taken,) = store.claim(10, 1, 3)
    store.finish(taken, Outcome(result={}, image=image_of(taken), page=b"page"), 89)
    clock.moment = 99
    assert store.get("one", task.id) is not None
    assert [store.report("one", task.id), store.report("two", task.id), store.forget()] == [b"page", None, 0]
    clock.moment = 100
    assert store.get("one", task.id) is None
    assert store.page("one", Query(9)) == []
    assert [store.report("one", task.id), store.forget()] == [None, 1]
    with store.database.reading.connect() as connection:
        assert task.id not in connection.exec_driver_sql("SELECT task FROM pages").scalars().all()
    assert store.catalog.images("one", Query(10)) == [image_of(taken)]


def test_who_loses_the_lease_cannot_finish(store: TaskStore, clock: Clock) -> None:
    made(store)
    clock.moment = 10
    (first,) = store.claim(10, 1, 9)
    clock.moment = 20
    assert store.claim(19, 1, 9) == [], "the lease counts to its end"
    clock.moment = 21
    (second,) = store.claim(19, 1, 9)
    assert (second.id, second.attempt, second.status, second.updated_at) == (first.id, 2, Status.PROCESSING, 10)
    store.renew([first], LATER)
    assert not store.finish(first, Outcome("late"), 99)
    clock.moment = 39
    assert store.claim(10, 1, 9) == []
    store.renew([second], 21)
    clock.moment = 41
    assert store.claim(10, 1, 9) == []
    assert store.finish(second, Outcome("mine"), 99)


def test_who_was_left_alone_comes_before_who_waits(store: TaskStore, clock: Clock) -> None:
    left = made(store, "a")
    assert store.claim(5, 1, 3)[0].id == left.id
    waiting = made(store, "b")
    clock.moment = 6
    assert [task.id for task in store.claim(5, 1, 3)] == [left.id]
    assert [task.id for task in store.claim(5, 1, 3)] == [waiting.id]


def test_a_task_that_kills_its_workers_is_given_up(store: TaskStore, clock: Clock) -> None:
    task = made(store)
    for attempt in (1, 2):
        clock.moment = attempt * 10
        assert store.claim(5, 5, 2)[0].attempt == attempt
    assert store.give_up(400, 2) == []
    clock.moment = 25
    assert store.give_up(400, 2) == []
    clock.moment = 99
    assert store.claim(100, 5, 2) == []
    assert store.give_up(401, 2) == [task.id]
    failed = store.get("one", task.id)
    assert failed is not None
    assert (failed.status, failed.message, failed.expires_at) == (Status.FAILURE, GAVE_UP, 500)


def test_a_task_that_was_given_back_has_lost_no_try_and_goes_on_at_once(store: TaskStore, clock: Clock) -> None:
    made(store)
    attempts = []
    for _ in range(5):
        clock.moment += 1
        attempts += store.claim(1000, 1, 1)
        store.release(attempts[-1:])
        assert not store.give_up(1, 1)
        clock.moment += 1
    (last,) = store.claim(1000, 1, 1)
    assert [task.attempt for task in (*attempts, last)] == [1, 2, 3, 4, 5, 6], "no two workers have the same number"
    assert not store.finish(attempts[-1], Outcome("of one that was given back"), 1)
    assert store.finish(last, Outcome("done"), 99)


def test_no_task_is_claimed_twice(store: TaskStore) -> None:
    ids = {made(store).id for _ in range(60)}
    claimed: list[str] = []

    def claim() -> None:
        while taken := store.claim(LATER, 2, 3):
            claimed.extend(task.id for task in taken)

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_one_of_many_finishes(store: TaskStore) -> None:
    made(store)
    (taken,) = store.claim(10, 1, 3)
    wins: list[bool] = []
    outcomes = [Outcome(f"by {number}") for number in range(8)]
    threads = [
        threading.Thread(target=lambda each=outcome: wins.append(store.finish(taken, each, 99))) for outcome in outcomes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_only_so_many_of_a_tenant_wait(store: TaskStore) -> None:
    assert [store.create(new(Kind.IMPORT, "one", {}), 2) is not None for _ in range(3)] == [True, True, False]
    assert store.create(new(Kind.IMPORT, "two", {}), 2)
    store.claim(20, 1, 3)
    assert store.create(new(Kind.IMPORT, "one", {}), 2)
    assert store.counts() == {"pending": 3, "processing": 1}


def order(store: TaskStore, clock: Clock) -> str:
    """Take up all tasks, one after the other, and return whose they were."""
    owners = ""
    while taken := store.claim(LATER, 1, 3):
        owners += taken[0].owner
        clock.moment += 1
    return owners


def test_tenants_take_turns(store: TaskStore, clock: Clock) -> None:
    for owner in "aaaaaabb":
        clock.moment += 1
        made(store, owner)
    assert order(store, clock) == "ababaaaa"


def test_who_comes_later_waits_for_one_of_each_tenant(store: TaskStore, clock: Clock) -> None:
    for owner in "aaaaaabbbb":
        clock.moment += 1
        made(store, owner)
    taken = "".join(store.claim(LATER, 1, 3)[0].owner for _ in range(5))
    assert taken == "ababa"
    for owner in "ccc":
        clock.moment += 1
        made(store, owner)
    assert order(store, clock) == "bcabcac" + "a"


def test_who_was_served_much_before_is_not_last_now(store: TaskStore, clock: Clock) -> None:
    for _ in range(20):
        made(store, "a")
    order(store, clock)
    for owner in "bbbaa":
        clock.moment += 1
        made(store, owner)
    assert order(store, clock) == "babab"


@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
@pytest.mark.parametrize("sort_key", SORT_KEYS)
def test_pages_hold_each_task_once_and_in_order(store: TaskStore, clock: Clock, sort_key: str, sort_dir: str) -> None:
    for number in range(11):
        clock.moment = number // 3
        made(store, kind=Kind.IMPORT if number % 2 else Kind.EXPORT)
    made(store, "two")
    clock.moment = 50
    for task in store.claim(20, 4, 3)[:2]:
        store.finish(task, Outcome("no"), 450)
    whole = store.page("one", Query(99, None, sort_key, sort_dir))
    assert len({task.id for task in whole}) == 11
    keys = [(getattr(task, sort_key) or 0, task.created_at, task.id) for task in whole]
    assert keys == sorted(keys, reverse=sort_dir == "desc")
    pages, marker = [], None
    while page := store.page("one", Query(4, marker, sort_key, sort_dir)):
        pages += page
        marker = page[-1].id
        assert len(pages) <= len(whole), "no page ends twice at one marker"
    assert pages == whole


@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
@pytest.mark.parametrize("sort_key", catalog.SORT_KEYS)
def test_pages_hold_each_image_once_and_in_order(store: TaskStore, clock: Clock, sort_key: str, sort_dir: str) -> None:
    for number in range(7):
        made(store)
        (task,) = store.claim(20, 1, 3)
        image = replace(image_of(task), name=[None, "b", "a"][number % 3], size=number % 2)
        store.finish(task, Outcome(result={}, image=image), 9)
        clock.moment += number % 2
    whole = store.catalog.images("one", Query(99, None, sort_key, sort_dir))
    assert len({image.id for image in whole}) == 7
    pages, marker = [], None
    while page := store.catalog.images("one", Query(2, marker, sort_key, sort_dir)):
        pages += page
        marker = page[-1].id
        assert len(pages) <= len(whole), "no page ends twice at one marker"
    assert pages == whole
    assert {image.name for image in store.catalog.images("one", Query(9, filters={"name": "a"}))} == {"a"}


def test_filters_and_markers(store: TaskStore) -> None:
    task, other = made(store), made(store, "two")
    assert store.page("one", Query(9, filters={"type": "export"})) == []
    assert store.page("one", Query(9, filters={"type": "import", "status": "pending"})) == [task]
    assert store.page("one", Query(9, filters={"id": task.id, "owner": "one"})) == [task]
    assert store.page("one", Query(9, filters={"owner": "two"})) == []
    assert store.page("one", Query(0)) == []
    for marker in (other.id, "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(UnknownMarker):
            store.page("one", Query(9, marker))
        with pytest.raises(UnknownMarker):
            store.catalog.images("one", Query(9, marker))


def test_who_reads_before_it_writes_is_not_too_late(tmp_path: Path) -> None:
    """SQLite refuses to let a reader write where another has written meanwhile: so a transaction begins as a writer."""
    ours = TaskStore(Database(f"sqlite:///{tmp_path / 'tasks.sqlite'}"))
    made(ours)
    other = threading.Thread(target=made, args=(ours, "two"))
    with ours.database.writing.begin() as connection:
        connection.execute(sa.select(TASKS.c.id)).all()
        other.start()
        other.join(0.3)
        connection.execute(TASKS.update().values(message="seen"))
    other.join()
    assert (len(ours.page("one", Query(9))), len(ours.page("two", Query(9)))) == (1, 1)
    ours.database.close()


def test_a_store_can_be_opened_again(database: str) -> None:
    first = TaskStore(Database(database))
    task = made(first)
    second = TaskStore(Database(database))
    assert second.get("one", task.id) == task
    assert second.database.id == first.database.id
    first.database.close()
    second.database.close()


def test_times_are_the_databases(database: str) -> None:
    store = TaskStore(Database(database))
    before_, task, after = time.time(), made(store), time.time()
    assert before_ - 0.1 < task.created_at / 1e6 < after + 0.1
    store.database.write()
    store.database.close()
