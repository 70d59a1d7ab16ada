"""What attempts and deleted images leave behind, and quotas, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed (extra tasks)")


from typing import TYPE_CHECKING

from tests.tasks.test_store import MANY, Clock, clock, image_of, made, store
from vhdcheck.tasks.remains import LINGER, OverQuota
from vhdcheck.tasks.task import INTERNAL, STORE, Kind, Outcome, Quota, new

if TYPE_CHECKING:
    from vhdcheck.tasks.store import TaskStore

__all__ = ["clock", "store"]  # fixtures


def test_an_attempt_is_due_when_nobody_works_under_it(store: TaskStore, clock: Clock) -> None:
    clock.moment = 1
    made(store)
    (first,) = store.claim(20, 1, 3)
    store.remains.begin([first])
    assert store.remains.due() == []
    clock.moment = 30  # its lease has lapsed; yet nobody else has taken it up
    assert store.remains.due() == []
    (second,) = store.claim(20, 1, 3)
    store.remains.begin([second])
    (due,) = store.remains.due()
    assert (due.id, due.owner, due.task, due.attempt) == (first.image_id, "one", first.id, 1)
    store.remains.gone(due)
    assert store.remains.due() == []
    assert store.finish(second, Outcome(result={}, image=image_of(second)), 100)
    assert store.remains.due() == []
    store.remains.again(first.image_id)  # its worker lives, and has ended now
    assert store.remains.due() == [due]
    store.remains.gone(due)
    clock.moment += LINGER  # a worker that had only stopped might have written it meanwhile
    assert store.remains.due() == [due]
    store.remains.gone(due)
    assert store.remains.due() == []
    clock.moment += LINGER
    assert store.remains.due() == []


@pytest.mark.parametrize(("message", "left"), [("None", 0), (STORE, 1), (INTERNAL, 1), ("396: bad", 0)])
def test_what_an_outcome_leaves(store: TaskStore, message: str, left: int) -> None:
    made(store)
    (task,) = store.claim(20, 1, 3)
    store.remains.begin([task])
    outcome = Outcome(result={}, image=image_of(task)) if message == "None" else Outcome(message)
    assert store.finish(task, outcome, 100)
    assert len(store.remains.due()) == left


def test_an_image_that_is_dropped_remains_until_its_bytes_are_gone(store: TaskStore, clock: Clock) -> None:
    made(store)
    (task,) = store.claim(20, 1, 3)
    store.finish(task, Outcome(result={}, image=image_of(task)), 100)
    assert not store.remains.drop("two", task.image_id)
    assert store.remains.due() == []
    assert store.remains.drop("one", task.image_id)
    assert not store.remains.drop("one", task.image_id)
    assert store.catalog.image("one", task.image_id) is None
    (due,) = store.remains.due()
    assert (due.id, due.task, due.container) == (task.image_id, None, None)
    store.remains.gone(due)
    assert store.remains.due() == []
    clock.moment += 2 * LINGER
    assert store.remains.due() == [], "nobody writes it any more"


def test_the_remains_of_an_export_lie_in_its_container(store: TaskStore) -> None:
    for container in ("exports", "../exports", "\0", "a%2eb"):
        given = {"image_uuid": "x", "receiving_swift_container": container}
        assert store.create(new(Kind.EXPORT, "one", given), MANY) is not None
    tasks = store.claim(20, 9, 3)
    store.remains.begin(tasks)
    for task in tasks:
        assert store.finish(task, Outcome(STORE), 100)
    assert {each.container for each in store.remains.due()} == {"exports", None}


def test_a_quota_is_held_in_the_transaction(store: TaskStore) -> None:
    for _ in range(3):
        made(store)
    one, two, three = store.claim(20, 3, 3)
    assert store.remains.room("one", Quota(2, 7)) == 7
    for task in (one, two):
        assert store.finish(task, Outcome(result={}, image=image_of(task)), 100, Quota(2, 4))
    assert (store.remains.room("one", Quota(2, 7)), store.remains.room("one", Quota(3, 7))) == (0, 3)
    assert (store.remains.room("one", Quota(3)), store.remains.room("two", Quota(1, 5))) == (None, 5)
    for quota in (Quota(2), Quota(None, 5), Quota(9, 5), Quota(0), Quota(None, 0)):
        with pytest.raises(OverQuota):
            store.finish(three, Outcome(result={}, image=image_of(three)), 100, quota)
        assert store.get("one", three.id) == three
    assert store.finish(three, Outcome(result={}, image=image_of(three)), 100, Quota(3, 6))
