"""One client and its connections for a process and an account: for all checks, in all loops, and after a fork."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, dynamic, fixed
from tests.remote.server import Listener, Server
from vhdcheck import Report, SourceError, acheck, audit, check
from vhdcheck.sources import clients

if TYPE_CHECKING:
    from pathlib import Path

    from tests.remote.stores import Served

pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_one_client_for_all_checks(store: Served) -> None:
    store.put("image.vhd", dynamic(10 * MIB, blocks=[0]).tobytes())
    url, options = f"{store.scheme}://images/image.vhd", store.options
    before = set(clients._CLIENTS)
    reports = [check(url, storage_options=options), check(url, storage_options=dict(options))]
    reports += [asyncio.run(acheck(url, storage_options=options)) for _ in range(2)]
    with ThreadPoolExecutor(4) as executor:
        for result in audit([url] * 8, executor=executor, batch=1, storage_options=options):
            assert isinstance(result, Report)
            reports.append(result)
    assert len({report.findings for report in reports}) == 1
    (made,) = set(clients._CLIENTS) - before
    assert made.users == 0
    check(url, storage_options={**options, "use_listings_cache": False})
    assert len(set(clients._CLIENTS) - before) == 2, "other options are another account's"


def test_what_fails_leaves_the_client_as_it_was(store: Served) -> None:
    before = set(clients._CLIENTS)
    with pytest.raises(SourceError, match="not found"):
        check(f"{store.scheme}://images/none.vhd", storage_options=store.options)
    (made,) = set(clients._CLIENTS) - before
    assert made.users == 0
    store.put("image.vhd", fixed(4 * MIB).tobytes())
    assert check(f"{store.scheme}://images/image.vhd", storage_options=store.options).requests == 3


def test_keys_that_change_are_seen(store: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("image.vhd", fixed(4 * MIB).tobytes())
    url = f"{store.scheme}://images/image.vhd"
    check(url, storage_options=store.options)
    first = clients._CLIENTS[-1]
    monkeypatch.setenv("AWS_PROFILE_OF_A_TEST", "another")
    check(url, storage_options=store.options)
    second = clients._CLIENTS[-1]
    assert second is not first, "the environment may hold other keys"
    monkeypatch.setattr(clients, "LIFETIME", 0.0)
    check(url, storage_options=store.options)
    assert [each for each in (first, second) if each in clients._CLIENTS] == [], "who is old is closed"


def test_objects_of_one_client_are_told_apart(s3: Served) -> None:
    images = {f"{number}.vhd": dynamic((number + 1) * MIB, blocks=[0]).tobytes() for number in range(8)}
    for name, data in images.items():
        s3.put(name, data)
    with ThreadPoolExecutor(8) as executor:
        for result in audit(
            [f"s3://images/{name}" for name in images] * 3, executor=executor, batch=1, storage_options=s3.options
        ):
            assert isinstance(result, Report), result
            assert result.size == len(images[result.source.rpartition("/")[2]])


def test_http_connections_are_used_again() -> None:
    ours = Server()
    with Listener(ours) as listener:
        listener.thread.start()
        url = ours.put("image.vhd", dynamic(10 * MIB, blocks=[0]))
        for _ in range(5):
            check(url)
            asyncio.run(acheck(url))
        seen = listener.connections
        listener.shutdown()
        listener.thread.join()
    assert seen <= 2, "each check has connections of its own"


FORKED = """
import gc, os, sys
from vhdcheck import check
url, options = sys.argv[1], {options!r}
first = check(url, storage_options=options).findings
for way in ("checks", "collects", "ends", "ends at once"):
    child = os.fork()
    if not child:
        if way == "checks":
            assert check(url, storage_options=options).findings == first
        elif way == "collects":
            gc.collect()
        elif way == "ends at once":
            os._exit(0)
        sys.exit()
    if way == "checks":
        assert check(url, storage_options=options).findings == first
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
    assert check(url, storage_options=options).findings == first
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("way", ["http", "store"])
def test_after_a_fork(way: str, request: pytest.FixtureRequest, root: Path) -> None:
    data = dynamic(10 * MIB, blocks=[0])
    if way == "http":
        url, options = request.getfixturevalue("server").put("image.vhd", data), {}
    else:
        s3: Served = request.getfixturevalue("s3")
        s3.put("image.vhd", data.tobytes())
        url, options = "s3://images/image.vhd", s3.options
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED.format(options=options), url],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
