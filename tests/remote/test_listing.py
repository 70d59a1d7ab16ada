"""Folders of stores: each image's length comes from the listing, and the command takes them as it takes folders."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.recipes import NOW
from fixtures.writer import GIB, MIB, dynamic, fixed
from vhdcheck import Failure, SourceError, audit, check, listed
from vhdcheck.sources import store_listing as listing_module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.remote.server import Server
    from tests.remote.stores import Served

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")

# Clients of other makers, which deprecate things of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

FIXED, DYNAMIC = fixed(4 * MIB).tobytes(), dynamic(40 * GIB, blocks=[0]).tobytes()
CONTENT = {
    "audit/fixed.vhd": FIXED,
    "audit/a/dynamic.VHD": DYNAMIC,
    "audit/a/b/snapshot.avhd": FIXED,
    "audit/no footer.vhd": bytes(5000),
    "audit/empty.vhd": b"",
    "audit/notes.txt": b"no image",
    "audited.vhd": FIXED,
}
REFUSED = {"audit/no footer.vhd", "audit/empty.vhd"}
IMAGES = {name for name in CONTENT if name.startswith("audit/") and not name.endswith(".txt")}


@pytest.fixture
def filled(store: Served) -> Served:
    for name, data in CONTENT.items():
        store.put(name, data)
    store.asked()
    return store


def test_what_is_listed(filled: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "PAGE", 2)
    found = list(listed(f"{filled.scheme}://images/audit/", storage_options=filled.options))
    assert sorted(found) == sorted(f"{filled.scheme}://images/{name}" for name in IMAGES)
    assert {str(url).partition("images/")[2]: url.info.get("size", 0) for url in found} == {
        name: len(CONTENT[name]) for name in IMAGES
    }
    for url in found:
        again = pickle.loads(pickle.dumps(url))  # noqa: S301 (its own)
        assert (again, again.info) == (url, url.info)


def test_nobody_asks_for_a_length(filled: Served) -> None:
    found = list(listed(f"{filled.scheme}://images/audit/a/", storage_options=filled.options))
    assert len(found) == 2
    filled.asked()
    results = list(audit(found, target="generic", storage_options=filled.options, now=NOW))
    asked = Counter(line.partition(" ")[0] for line in filled.asked())
    assert asked == {"GET": 4}
    for result in results:
        assert not isinstance(result, Failure)
        data = CONTENT[result.source.partition("images/")[2]]
        assert (result.size, result.requests, result.rounds) == (len(data), 2, 2)
        assert result.findings == check(data, target="generic", now=NOW).findings


def test_an_object_that_changes_after_it_was_listed(filled: Served) -> None:
    (image,) = listed(f"{filled.scheme}://images/audit/a/b/", storage_options=filled.options)
    filled.put("audit/a/b/snapshot.avhd", fixed(4 * MIB, unique_id=bytes(16)).tobytes())
    with pytest.raises(SourceError, match=r"snapshot.avhd: the object changed while it was checked"):
        check(image, storage_options=filled.options)


def test_what_cannot_be_listed(store: Served) -> None:
    for url in ("nowhere/", "nowhere/deep/"):
        with pytest.raises(SourceError, match=rf"^{store.scheme}://{url}: not found( \(HTTP 404\))?$") as caught:
            list(listed(f"{store.scheme}://{url}", storage_options=store.options))
        assert caught.value.__context__ is None


def test_more_than_a_page_of_the_server(s3: Served) -> None:
    names = [f"many/{number:04}.vhd" for number in range(1003)]
    for name in names:
        s3.put(name, b"")
    s3.asked()
    found = listed("s3://images/many/", storage_options=s3.options)
    assert next(found) == "s3://images/many/0000.vhd"
    assert len(s3.asked()) == 1, "the second page is not asked for before it is needed"
    assert ["s3://images/many/0000.vhd", *found] == [f"s3://images/{name}" for name in names]


@pytest.fixture
def run(s3: Served, root: Path, tmp_path: Path) -> Any:
    def to_end(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "FSSPEC_S3": json.dumps(s3.options), "PYTHONPATH": str(root)}
        command = [sys.executable, "-m", "vhdcheck", *words]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    return to_end


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_command_on_a_folder_of_a_store(jobs: str, run: Any, s3: Served, tmp_path: Path) -> None:
    for name, data in CONTENT.items():
        s3.put(name, data)
    done = run("s3://images/audit/", "--jobs", jobs, "--format", "jsonl", "--target", "generic")
    lines = {line["source"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(lines) == {f"s3://images/{name}" for name in IMAGES}
    assert {name for name in IMAGES if lines[f"s3://images/{name}"]["verdict"] == "refused"} == REFUSED
    assert lines["s3://images/audit/a/dynamic.VHD"]["requests"] == 2
    assert done.stderr.splitlines()[-1].startswith("5 images: 3 accepted, 2 refused")
    assert done.returncode == 1

    (tmp_path / "done.jsonl").write_text(done.stdout)
    s3.asked()
    again = run("s3://images/audit/", "--resume", "done.jsonl", "--format", "jsonl", "--target", "generic")
    assert (again.stdout, again.returncode) == ("", 1)
    assert all("list-type=2" in line for line in s3.asked())


def test_a_folder_without_images_and_none_at_all(run: Any, s3: Served) -> None:
    s3.put("texts/a.txt", b"no image")
    done = run("s3://images/texts/", "s3://nowhere/x/")
    assert done.returncode == 2
    assert "s3://images/texts/: not checked: no .vhd or .avhd images in this folder" in done.stdout
    assert "s3://nowhere/x/: not checked: not found" in done.stdout


def test_jobs_on_urls(server: Server, run: Any, tmp_path: Path) -> None:
    urls = [server.put(f"{number}.vhd", fixed((4 + number) * MIB)) for number in range(12)]
    urls += [server.put("bad.vhd", dynamic(41 * GIB)), f"{server.url}/none.vhd"]
    (tmp_path / "list").write_text("\n".join(urls))
    one, four = (run("--files-from", "list", "--jobs", jobs, "--format", "jsonl") for jobs in ("1", "4"))
    lines = sorted(one.stdout.splitlines())
    assert len(lines) == 14
    assert lines == sorted(four.stdout.splitlines())
    assert (one.returncode, four.returncode) == (2, 2)
    assert one.stderr == four.stderr


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


def test_stores_of_other_drivers(memory: Any) -> None:
    for name, data in CONTENT.items():
        memory.pipe_file(f"/images/{name}", data)
    found = list(listed("MEMORY://images/audit/"))
    assert sorted(found) == sorted(f"memory://images/{name}" for name in IMAGES)
    with ThreadPoolExecutor(2) as executor:
        results = list(audit(found, executor=executor, batch=1, target="generic"))
    assert {result.source.partition("images/")[2] for result in results if not getattr(result, "ok", False)} == REFUSED
    with pytest.raises(SourceError, match="not found"):
        list(listed("memory://nothing/"))


def test_a_listing_that_nobody_ends(root: Path) -> None:
    """The loop that would close it is gone when Python ends."""
    program = (
        "import fsspec, vhdcheck; fsspec.filesystem('memory').pipe_file('/a/b.vhd', b'');"
        "found = vhdcheck.listed('memory://a/'); print(next(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "memory://a/b.vhd\n", "")


def test_a_pattern_in_a_store(filled: Served, run: Any) -> None:
    if filled.scheme != "s3":
        pytest.skip("the command finds the keys of S3 in its environment")
    for pattern, status, verdicts in (
        ("s3://images/audit/*.vhd", 1, {"audit/empty.vhd", "audit/fixed.vhd", "audit/no footer.vhd"}),
        ("s3://images/audit/**/*.[vVa]*", 1, IMAGES),
        ("s3://images/audit/a/*/*", 0, {"audit/a/b/snapshot.avhd"}),
        ("s3://images/audit/none*.vhd", 2, {"audit/none*.vhd"}),
    ):
        done = run(pattern, "--format", "line", "--target", "generic")
        lines = {line.partition(": ")[0].removeprefix("s3://images/") for line in done.stdout.splitlines()}
        assert (done.returncode, lines) == (status, verdicts), done.stdout + done.stderr


def test_a_folder_without_its_slash(filled: Served) -> None:
    with pytest.raises(
        SourceError, match=r"a folder, not a file: to check the images in it, add a / to its name|not found"
    ):
        check(f"{filled.scheme}://images/audit", storage_options=filled.options)


def test_odd_keys_are_checked_as_they_are_listed(store: Served) -> None:
    keys = {f"odd/{name}.vhd" for name in ("x::y", "a b", "50%25", "q?v=1", "#1", "[1]", "é")}
    for key in keys:
        store.put(key, FIXED)
    found = list(listed(f"{store.scheme}://images/odd/", storage_options=store.options))
    assert {url.partition("images/")[2] for url in found} == keys
    for url in found:
        assert check(url, storage_options=store.options, target="generic", now=NOW).ok, url
        assert check(str(url), storage_options=store.options, target="generic", now=NOW).ok, url
