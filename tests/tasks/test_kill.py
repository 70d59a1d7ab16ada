"""kill -9 at random moments, many times: every task ends once, no image is half there, none is without a task."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, fixed
from tests.tasks.service import FINAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tasks.service import Service

KILLS = int(os.environ.get("KILLS", "8"))
IMPORTS = 16
OPTIONS = ("--lease-seconds", "0.6", "--max-attempts", "1000", "--workers", "3", "--max-waiting", "10000")
ORDER = ["pending", "processing", "final"]


def test_no_task_is_lost_or_done_twice(serve: Callable[..., Service], database: str) -> None:
    service = serve("--database", database, *OPTIONS)
    random_ = random.Random(database[:6])
    good = fixed(24 * MIB).tobytes()
    digest = hashlib.sha256(good).hexdigest()
    service.put("in/good", good)
    service.put("in/bad", good[:-1])
    (service.objects / "out").mkdir()
    image = service.imported("in/good")["result"]["image_id"]
    watched: dict[str, list[dict[str, Any]]] = {}
    for kill in range(KILLS):
        if kill < KILLS - 2:
            for number in range(IMPORTS // 4):
                watched[service.create("import", {"import_from": ("in/good", "in/bad", "in/none")[number % 3]})] = []
            watched[service.create("export", {"image_uuid": image, "receiving_swift_container": "out"})] = []
        end = time.monotonic() + random_.uniform(0, 0.5)
        while time.monotonic() < end:
            look(service, watched)
        service.kill()
        service.start()
    for task in watched:
        service.wait(task)
    look(service, watched)
    time.sleep(1.5)  # a worker that believes to own a task would finish it now
    look(service, watched)

    for task, seen in watched.items():
        statuses = ["final" if each["status"] in FINAL else each["status"] for each in seen]
        assert statuses == sorted(statuses, key=ORDER.index), task
        final = [each for each in seen if each["status"] in FINAL]
        assert all(each == final[0] for each in final), task

    done = {task: seen[-1] for task, seen in watched.items()}
    exports = Counter(task["status"] for task in done.values() if task["type"] == "export")
    assert exports["success"] >= 1
    assert [path.name for path in (service.objects / "out").iterdir()] == [f"{image}.vhd"]
    assert (service.objects / "out" / f"{image}.vhd").read_bytes() == good
    for each in done.values():
        if each["type"] == "import":
            expected = "success" if each["input"]["import_from"] == "in/good" else "failure"
            assert each["status"] == expected, each
    made = [task["result"]["image_id"] for task in done.values() if "image_id" in task.get("result", {})]
    assert len(set(made)) == len(made)
    listed = service.get("/v2/images?limit=1000").json["images"]
    assert sorted(each["id"] for each in listed) == sorted([*made, image])
    assert {each["os_hash_value"] for each in listed} == {digest}
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in service.kept}
    assert files == {f"{each['id']}.vhd": digest for each in listed}
    assert service.get("/healthz").json == {"status": "ok", "pending": 0, "processing": 0}


def look(service: Service, watched: dict[str, list[dict[str, Any]]]) -> None:
    """Note each task's state, if it is another than before."""
    for task, seen in watched.items():
        answer = service.get(f"/v2/tasks/{task}")
        assert answer.status == 200, (task, answer)
        if not seen or seen[-1] != answer.json:
            seen.append(answer.json)


@pytest.mark.parametrize("signal", ["stop", "kill"])
def test_a_worker_that_is_ended_half_way_leaves_nothing_half(serve: Callable[..., Service], signal: str) -> None:
    service = serve("--lease-seconds", "1", "--grace-seconds", "0.05")
    big = sparse(service, 600 * MIB)
    task = service.create("import", {"import_from": big})
    until(lambda: any(service.images.glob("*.part")))
    getattr(service, signal)()
    assert list(service.images.glob("*.vhd")) == []
    if signal == "stop":
        assert service.kept == []
    service.start()
    done = service.wait(task)
    assert done["status"] == "success"
    until(lambda: [path.name for path in service.kept] == [f"{done['result']['image_id']}.vhd"])  # the rest is swept


def test_a_graceful_shutdown_waits_for_the_work_under_way(serve: Callable[..., Service]) -> None:
    service = serve("--workers", "1")
    first = service.create("import", {"import_from": sparse(service, 300 * MIB)})
    waiting = service.create("import", {"import_from": "in/none"})
    until(lambda: any(service.images.glob("*.part")))
    service.stop()
    (image,) = service.kept
    service.start()
    done = service.get(f"/v2/tasks/{first}").json
    assert (done["status"], f"{done['result']['image_id']}.vhd") == ("success", image.name)
    assert service.wait(waiting)["status"] == "failure"


def test_two_servers_share_the_work(serve: Callable[..., Service], database: str) -> None:
    first = serve("--database", database)
    second = serve("--database", database, folder=first.folder)
    first.put("in/good", fixed(MIB).tobytes())
    tasks = [(first if number % 2 else second).create("import", {"import_from": "in/good"}) for number in range(20)]
    done = [second.wait(task) for task in tasks]
    assert {task["status"] for task in done} == {"success"}
    assert len({task["result"]["image_id"] for task in done}) == len(first.kept) == 20


def sparse(service: Service, size: int) -> str:
    """Put a fixed disk that takes no room."""
    path = service.objects / "in" / "big"
    path.parent.mkdir(exist_ok=True)
    fixed(size).write(path)
    return "in/big"


def until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.005)
