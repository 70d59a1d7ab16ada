"""`--mend certain`: what becomes of an image that would be refused, in each of the ways that it can go."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, dynamic, fixed
from vhdcheck import check
from vhdcheck.mend import plan
from vhdcheck.tasks import work
from vhdcheck.tasks.objects import Stopped
from vhdcheck.tasks.settings import Settings
from vhdcheck.tasks.task import Kind, Task
from vhdcheck.tasks.work import Job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.tasks.service import Service

DATA = bytes(range(256)) * 2 * 2048
"""What the guest has written: 1 MiB."""


def guest(image: bytes) -> bytes:
    """A fixed image's disk."""
    return image[:MIB]


def without_id() -> bytes:
    """A fixed disk with data, whose unique ID is zeros: the metadata alone say how it is mended."""
    return DATA + fixed(MIB, unique_id=bytes(16)).read(MIB, 512)


def of_odd_size() -> bytes:
    """A dynamic disk that Azure refuses for its size: how it is mended depends on the guest's data."""
    return dynamic(MIB + 512, blocks=[0]).tobytes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lines(service: Service, **wanted: object) -> list[dict[str, Any]]:
    """The lines of the log that say all of this."""
    every = [json.loads(line) for line in service.log.splitlines()]
    return [line for line in every if wanted.items() <= line.items()]


@pytest.fixture(scope="module")
def mending(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.tasks.service import Service  # as the fixture `service`

    with Service(tmp_path_factory.mktemp("service"), ["--mend", "certain"]) as running:
        yield running


@pytest.mark.parametrize("expected", ["correct", "cut"])
def test_a_certain_repair_is_stored_and_said(mending: Service, expected: str) -> None:
    image = without_id() if expected == "correct" else DATA + fixed(MIB).read(MIB, 512) + b"\1" * 100
    name = mending.put(f"exports/{expected}", image)
    assert not check(mending.objects / name).ok
    given = {"import_from": name, "image_properties": {"name": "mine"}}
    task = mending.wait(mending.create("import", given))
    assert (task["status"], task["message"], task["input"]) == ("success", "None", given)
    assert (mending.objects / name).read_bytes() == image
    (stored,) = [path for path in mending.kept if path.stem == task["image_id"]]
    kept = stored.read_bytes()
    assert check(stored).ok
    assert guest(kept) == DATA
    digests = {"source_sha256": sha256(image), "image_sha256": sha256(kept)}
    assert task["result"] == {"image_id": task["image_id"], "mended": expected, **digests}
    assert [finding["rule"] for finding in task["findings"]] == [
        finding.rule for finding in check(mending.objects / name).findings
    ]
    shown = mending.get(f"/v2/images/{task['image_id']}").json
    assert (shown["os_hash_value"], shown["size"], shown["name"]) == (sha256(kept), len(kept), "mine")
    (line,) = lines(mending, task=task["id"], image=task["image_id"], mended=expected)
    assert {key: line[key] for key in digests} == digests
    assert line["level"] == "warning"
    assert list((mending.folder / "data" / "scratch").iterdir()) == []


def test_the_report_of_a_mended_image_shows_what_it_was_and_what_it_is(mending: Service) -> None:
    task = mending.imported(mending.put("exports/shown", without_id()))
    session = mending.request(
        "POST", "/session", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b"token=tok"
    )
    cookie = {"Cookie": session.headers["set-cookie"].partition(";")[0]}
    page = mending.get(f"/tasks/{task['id']}/report", token=None, headers=cookie)
    assert page.status == 200
    assert "exports/shown, mended" in page.text
    assert "614" in page.text


def test_an_accepted_image_is_stored_as_it_is(mending: Service) -> None:
    image = DATA + fixed(MIB).read(MIB, 512)
    task = mending.imported(mending.put("exports/good", image))
    assert list(task["result"]) == ["image_id"]
    assert (mending.images / f"{task['image_id']}.vhd").read_bytes() == image


@pytest.mark.parametrize("image", [b"not a disk image", fixed(MIB, disk_type=5).tobytes()])
def test_what_cannot_be_mended_is_refused_as_before(mending: Service, image: bytes) -> None:
    name = mending.put("exports/beyond-repair", image)
    before = mending.kept
    task = mending.imported(name)
    assert (task["status"], task["message"]) == ("failure", check(mending.objects / name).message)
    assert task["findings"]
    assert "result" not in task
    assert mending.kept == before
    assert lines(mending, task=task["id"], message="not mended")


def test_a_repair_on_conditions_is_refused_as_before(serve: Callable[..., Service]) -> None:
    service = serve("--mend", "certain", "--target", "azure")
    name = service.put("exports/odd", of_odd_size())
    planned = plan(service.objects / name, target="azure")
    assert planned.possible
    assert planned.conditions
    task = service.imported(name)
    assert (task["status"], task["message"]) == (
        "failure",
        check(service.objects / name, target="azure").message,
    )
    assert service.kept == []
    assert not (service.folder / "data" / "scratch").exists()  # it was not even fetched
    (line,) = lines(service, task=task["id"], message="not mended")
    assert line["reason"] == "; ".join(condition.kind for condition in planned.conditions)


def test_nothing_is_mended_unless_that_is_asked_for(service: Service) -> None:
    name = service.put("exports/no-id", without_id())
    assert plan(service.objects / name).is_certain
    task = service.imported(name)
    assert task["message"].startswith("614: ")
    assert not any(path.stat().st_size == MIB + 512 and path.read_bytes()[:MIB] == DATA for path in service.kept)


def test_the_mended_image_counts_for_the_quota(serve: Callable[..., Service]) -> None:
    service = serve("--mend", "certain", "--quota-bytes", "1MiB")
    task = service.imported(service.put("exports/too-long", without_id()))
    assert task["message"].startswith("Error: The image is more than the tenant may keep")
    assert task["findings"]
    assert service.kept == []


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
def test_a_repair_that_is_stopped_leaves_nothing(tmp_path: Path, pieces: int) -> None:
    given = {"data": tmp_path / "data", "objects": str(tmp_path / "objects"), "mend": "certain"}
    settings = Settings.model_validate(given)
    (tmp_path / "objects" / "exports").mkdir(parents=True)
    (tmp_path / "objects" / "exports" / "no-id").write_bytes(without_id())
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "vhdcheck-images.id").write_text("x")
    task = Task("ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6", Kind.IMPORT, "t", {"import_from": "exports/no-id"}, 0, 0)
    asked = iter([True] * pieces)
    with pytest.raises(Stopped):
        work.perform(Job(task, settings), lambda: next(asked, False))
    assert list((tmp_path / "data" / "scratch").iterdir()) == []
    assert [path.name for path in (tmp_path / "data" / "images").iterdir()] == ["vhdcheck-images.id"]
