"""The task service under load: `python -m benchmarks.tasks_load [DATABASE_URL]`.

GET of a task with 100 000 tasks in the store; then 1000 imports of small images, posted at once by as many clients,
none of which may be lost or done twice. The service runs as its own process on the same machine, of which the clients
take their share.
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
