"""The store: moves, leases, pages, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed (extra tasks)")

from vhdcheck.tasks.states import FINAL, MOVES, Status, before
from vhdcheck.tasks.store import SORT_KEYS, TaskStore, UnknownMarker
from vhdcheck.tasks.task import GAVE_UP, Kind, Outcome, Query, Stored, Task, full, new

MANY = 10**9
LATER = 1 << 60


@pytest.fixture
def store(database: str) -> Iterator[TaskStore]:
    """An empty store."""
    ours = TaskStore(database)
    yield ours
    ours.close()


def made(store: TaskStore, owner: str = "one", kind: Kind = Kind.IMPORT) -> Task:
    task = new(kind, owner, {"import_from": "a/b"})
    assert store.create(task, MANY)
    return task


def image_of(task: Task) -> Stored:
    return Stored(task.image_id, task.owner, "nul \0 and half \ud800", 1, 2, 3, "0" * 64)


def test_states_move_forward_only() -> None:
    assert before(Status.PENDING) == []
    assert before(Status.PROCESSING) == [Status.PENDING]
    assert before(Status.SUCCESS) == [Status.PROCESSING]
    assert before(Status.FAILURE) == [Status.PENDING, Status.PROCESSING]
    assert all(not MOVES[status] for status in FINAL)


def test_a_task_goes_its_way(store: TaskStore) -> None:
    task = made(store)
    assert store.get("one", task.id, 0) == task
    (taken,) = store.claim(10, 20, 5, 3)
    assert (taken.id, taken.status, taken.attempt, taken.updated_at) == (task.id, Status.PROCESSING, 1, 10)
    assert store.claim(10, 20, 5, 3) == []
    image = image_of(taken)
    assert store.finish(taken, Outcome(result={"image_id": image.id}, image=image, findings=[]), 15, 115)
    done = store.get("one", task.id, 114)
    assert done is not None
    assert full(done)["result"] == {"image_id": image.id}
    assert (done.status, done.updated_at, done.expires_at) == (Status.SUCCESS, 15, 115)
    assert store.image("one", image.id) == image
    assert store.image("two", image.id) is None
    assert store.get("two", task.id, 0) is None


def test_a_final_state_is_final(store: TaskStore) -> None:
    made(store)
    (taken,) = store.claim(10, 20, 1, 3)
    assert store.finish(taken, Outcome("no"), 11, 99)
    assert not store.finish(taken, Outcome(result={}, image=image_of(taken)), 12, 99)
    assert store.images("one", 10, None) == []
    assert store.claim(1000, 1001, 1, 3) == []


def test_a_task_expires_on_the_moment_and_its_image_stays(store: TaskStore) -> None:
    task = made(store)
    (taken,) = store.claim(10, 20, 1, 3)
    store.finish(taken, Outcome(result={}, image=image_of(taken), page=b"page"), 11, 100)
    assert store.get("one", task.id, 99) is not None
    assert store.get("one", task.id, 100) is None
    assert store.page("one", Query(9), 100) == []
    assert [store.report(*who) for who in (("one", task.id, 99), ("one", task.id, 100), ("two", task.id, 99))] == [
        b"page",
        None,
        None,
    ]
    assert [store.forget(99), store.forget(100)] == [0, 1]
    with store._engine.connect() as connection:
        assert task.id not in connection.exec_driver_sql("SELECT task FROM pages").scalars().all()
    assert store.images("one", 10, None) == [image_of(taken)]


def test_who_loses_the_lease_cannot_finish(store: TaskStore) -> None:
    made(store)
    (first,) = store.claim(10, 20, 1, 9)
    (second,) = store.claim(21, 40, 1, 9)
    assert (second.id, second.attempt, second.status, second.updated_at) == (first.id, 2, Status.PROCESSING, 10)
    store.renew([first], LATER)
    assert not store.finish(first, Outcome("late"), 22, 99)
    assert store.claim(39, 60, 1, 9) == []
    store.renew([second], 60)
    assert store.claim(41, 60, 1, 9) == []
    assert store.finish(second, Outcome("mine"), 42, 99)


def test_a_task_that_kills_its_workers_is_given_up(store: TaskStore) -> None:
    task = made(store)
    for attempt in (1, 2):
        assert store.claim(attempt * 10, attempt * 10, 5, 2)[0].attempt == attempt
    assert store.claim(99, 100, 5, 2) == []
    assert store.give_up(20, 500, 2) == []
    assert store.give_up(99, 500, 2) == [task.id]
    failed = store.get("one", task.id, 99)
    assert failed is not None
    assert (failed.status, failed.message, failed.expires_at) == (Status.FAILURE, GAVE_UP, 500)


def test_no_task_is_claimed_twice(store: TaskStore) -> None:
    ids = {made(store).id for _ in range(60)}
    claimed: list[str] = []

    def claim() -> None:
        while taken := store.claim(10, LATER, 2, 3):
            claimed.extend(task.id for task in taken)

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_one_of_many_finishes(store: TaskStore) -> None:
    made(store)
    (taken,) = store.claim(10, 20, 1, 3)
    wins: list[bool] = []
    outcomes = [Outcome(f"by {number}") for number in range(8)]
    threads = [
        threading.Thread(target=lambda each=outcome: wins.append(store.finish(taken, each, 11, 99)))
        for outcome in outcomes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_only_so_many_wait(store: TaskStore) -> None:
    assert [store.create(new(Kind.IMPORT, "one", {}), 2) for _ in range(3)] == [True, True, False]
    store.claim(10, 20, 1, 3)
    assert store.create(new(Kind.IMPORT, "two", {}), 2)
    assert store.counts() == {"pending": 2, "processing": 1}


@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
@pytest.mark.parametrize("sort_key", SORT_KEYS)
def test_pages_hold_each_task_once_and_in_order(store: TaskStore, sort_key: str, sort_dir: str) -> None:
    for number in range(11):
        task = replace(new(Kind.IMPORT, "one", {}), created_at=number // 3, updated_at=number)
        store.create(task if number % 2 else replace(task, type=Kind.EXPORT), MANY)
    made(store, "two")
    for task in store.claim(10, 20, 4, 3)[:2]:
        store.finish(task, Outcome("no"), 50, 500)
    whole = store.page("one", Query(99, None, sort_key, sort_dir), 0)
    assert len({task.id for task in whole}) == 11
    keys = [(getattr(task, sort_key) or 0, task.created_at, task.id) for task in whole]
    assert keys == sorted(keys, reverse=sort_dir == "desc")
    pages, marker = [], None
    while page := store.page("one", Query(4, marker, sort_key, sort_dir), 0):
        pages += page
        marker = page[-1].id
    assert pages == whole


def test_filters_and_markers(store: TaskStore) -> None:
    task, other = made(store), made(store, "two")
    assert store.page("one", Query(9, filters={"type": "export"}), 0) == []
    assert store.page("one", Query(9, filters={"type": "import", "status": "pending"}), 0) == [task]
    assert store.page("one", Query(0), 0) == []
    for marker in (other.id, "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(UnknownMarker):
            store.page("one", Query(9, marker), 0)
        with pytest.raises(UnknownMarker):
            store.images("one", 9, marker)


def test_images_that_are_wanted(store: TaskStore) -> None:
    made(store)
    made(store)
    done, under_way = store.claim(10, 20, 2, 3)
    store.finish(done, Outcome(result={}, image=image_of(done)), 11, 100)
    assert store.wanted_images() == {done.image_id, under_way.image_id}


def test_a_store_can_be_opened_again(database: str) -> None:
    first = TaskStore(database)
    task = made(first)
    second = TaskStore(database)
    assert second.get("one", task.id, 0) == task
    first.close()
    second.close()
