"""The task service under load: `python -m benchmarks.tasks_load [DATABASE_URL]`.

GET of a task with 100 000 tasks in the store; then 1000 imports of small images, posted at once by as many clients,
none of which may be lost or done twice. Then 10 000 tasks of 50 tenants that wait: how fast they are taken up, at first
and when few are left, and whether the tenants take turns. The service runs as its own process on the same machine, of
which the clients take their share.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

import sqlalchemy as sa

from fixtures.writer import MIB, fixed
from tests.tasks.service import TENANT, Service
from vhdcheck.tasks.database import Database
from vhdcheck.tasks.tables import TASKS as TABLE
from vhdcheck.tasks.task import Kind, new

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = 100_000
IMPORTS = 1000
GETS = 10_000
WAITING = 10_000
TENANTS = 50


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/tasks.sqlite"
        ids = fill(database)
        with Service(
            Path(folder), ["--database", database, "--max-waiting", "2000", "--log-level", "warning"]
        ) as service:
            get(service, ids, clients=1)
            get(service, ids, clients=8)
            import_many(service)
    for backlog in (500, WAITING):
        with tempfile.TemporaryDirectory() as folder:
            take_up(Path(folder), sys.argv[2] if len(sys.argv) > 2 else "", backlog)


def fill(database: str) -> list[str]:
    """Put tasks that have ended into the store."""
    ours = Database(database)
    rows, moment = [], time.time_ns() // 1000
    for _ in range(TASKS):
        task = new(Kind.IMPORT, TENANT, {"import_from": "exports/a.vhd", "image_properties": {"name": "x"}})
        row = {"id": task.id, "owner": task.owner, "created_at": moment, "updated_at": moment, "message": task.message}
        ended = {"status": "failure", "expires_at": moment + 10**12, "input": json.dumps(task.input)}
        rows.append({**row, **ended, "type": "import"})
    with ours.writing.begin() as connection:
        for start in range(0, TASKS, 10_000):
            connection.execute(sa.insert(TABLE), rows[start : start + 10_000])
    ours.close()
    return [str(row["id"]) for row in rows]


def get(service: Service, ids: list[str], clients: int) -> None:
    """Time GET of random tasks, each client over one connection."""
    times: list[float] = []

    def client() -> None:
        connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
        for task in random.choices(ids, k=GETS // clients):
            start = time.perf_counter()
            connection.request("GET", f"/v2/tasks/{task}", headers={"X-Auth-Token": "tok"})
            response = connection.getresponse()
            body = response.read()
            times.append(time.perf_counter() - start)
            assert response.status == 200, body
        connection.close()

    seconds = at_once(client, clients)
    cuts = quantiles(times, n=100)
    print(
        f"GET task, {TASKS} stored, {clients} clients: {len(times) / seconds:.0f} requests/s,"
        f" p50 {cuts[49] * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms"
    )


def import_many(service: Service) -> None:
    """Import as many images at once as are allowed to wait."""
    service.put("exports/small", fixed(MIB // 8).tobytes())
    made: list[str] = []
    start = time.perf_counter()
    posted = at_once(lambda: made.append(service.create("import", {"import_from": "exports/small"})), IMPORTS)
    done = [service.wait(task, patience=600) for task in made]
    seconds = time.perf_counter() - start
    images = {task["result"]["image_id"] for task in done}
    files = {path.stem for path in service.images.iterdir()}
    statuses = Counter(task["status"] for task in done)
    print(
        f"{IMPORTS} imports at once: posted in {posted:.1f} s, all done after {seconds:.1f} s;"
        f" {len(set(made))} tasks, {dict(statuses)}, {len(images)} images, {len(files)} files"
    )
    assert len(set(made)) == len(images) == IMPORTS
    assert files == images
    assert statuses == {"success": IMPORTS}


def take_up(folder: Path, database: str, backlog: int) -> None:
    """Let a service begin with tasks that wait; each fails at once, for its object is not there."""
    place = database or f"sqlite:///{folder}/tasks.sqlite"
    ours = Database(place)
    rows = []
    moment = time.time_ns() // 1000
    for number in range(backlog):
        # Tenant after tenant, as if each had posted all of its own before the next one came.
        tenant, turn = divmod(number, backlog // TENANTS)
        task = new(Kind.IMPORT, f"tenant-{tenant:02}", {"import_from": "exports/none"})
        row = {name: getattr(task, name) for name in ("id", "owner", "status", "message")}
        times = {"created_at": moment + number, "updated_at": moment + number, "turn": turn}
        rows.append({**row, **times, "type": "import", "input": json.dumps(task.input)})
    with ours.writing.begin() as connection:
        connection.execute(sa.delete(TABLE))
        connection.execute(sa.insert(TABLE), rows)
    with Service(folder, ["--database", place, "--log-level", "warning"]):
        start, owners = time.perf_counter(), Counter[str]()
        finished = sa.select(TABLE.c.owner).where(TABLE.c.status == "failure")
        while time.perf_counter() < start + 10:
            time.sleep(0.2)
            with ours.reading.connect() as connection:
                owners = Counter(connection.execute(finished).scalars())
            if owners.total() >= min(backlog, 500):
                break
        seconds = time.perf_counter() - start
    ours.close()
    fair = [owners[f"tenant-{tenant:02}"] for tenant in range(TENANTS)]
    print(
        f"{backlog} tasks of {TENANTS} tenants wait: {owners.total() / seconds:.0f} tasks/s;"
        f" of each tenant {min(fair)} to {max(fair)} are done"
    )


def at_once(work: Callable[[], None], clients: int) -> float:
    """Run a piece of work in several threads, and return the seconds that all took."""
    start = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
