"""Whose an image store is, and what is deleted in it: nothing that this database did not make."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tasks.service import Service

GOOD = fixed(MIB).tobytes()
MARK = "vhdcheck-images.id"
STRANGER = "ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6.vhd"


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(serve: Callable[..., Service], *options: str, **more: Any) -> str:
    """Start a service that does not start, and return what it says."""
    with pytest.raises(AssertionError) as told:
        serve(*options, **more)
    text = str(told.value)
    assert "Traceback" not in text
    return text


def database_id(text: str) -> str:
    match = re.search(r"this database's ID, ([0-9a-f-]{36}), into (\S+)", text)
    assert match is not None, text
    return match[1]


def test_a_folder_of_somebody_elses_images_is_left_alone(serve: Callable[..., Service], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("windows.vhd", STRANGER, "half.part", "readme.txt"):
        (theirs / name).write_bytes(GOOD)
    before = digests(theirs)
    told = refused(serve, "--images", str(theirs))
    assert "4 files, none of which is an image of this database" in told
    assert digests(theirs) == before


def test_what_lies_beside_the_images_is_never_deleted(serve: Callable[..., Service]) -> None:
    service = serve("--lease-seconds", "1")
    service.put("in/good", GOOD)
    kept = service.imported("in/good")["result"]["image_id"]
    for name in (STRANGER, "half.part", "ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6.part", "windows.vhd"):
        (service.images / name).write_bytes(b"theirs")
    service.kill()
    service.start()
    service.stop()
    service.start()
    assert {path.name for path in service.kept} == {
        *(STRANGER, "half.part", "ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6.part", "windows.vhd", f"{kept}.vhd")
    }


def test_another_databases_store_is_refused(serve: Callable[..., Service], tmp_path: Path) -> None:
    first = serve()
    first.put("in/good", GOOD)
    first.imported("in/good")
    first.stop()
    before = digests(first.images)
    other = f"sqlite:///{tmp_path / 'mistyped.sqlite'}"
    told = refused(serve, "--database", other, folder=first.folder)
    assert "belongs to another database" in told
    assert (first.images / MARK).read_text().strip() in told
    assert digests(first.images) == before
    first.start()
    assert digests(first.images) == before

    (first.images / MARK).write_text(database_id(told) + "\n")  # the way out that is named
    first.stop()
    assert serve("--database", other, folder=first.folder).get("/v2/images").json["images"] == []
    assert {name for name in digests(first.images) if name != MARK} == {name for name in before if name != MARK}


def test_a_disk_that_is_not_mounted_is_noticed(serve: Callable[..., Service]) -> None:
    service = serve()
    service.put("in/good", GOOD)
    service.imported("in/good")
    service.stop()
    service.images.rename(service.folder / "aside")
    service.images.mkdir()
    told = refused(serve, folder=service.folder)
    assert "is empty, and this database has images: a disk may not be mounted" in told
    assert list(service.images.iterdir()) == []


def test_a_database_put_back_from_a_backup_deletes_nothing(serve: Callable[..., Service]) -> None:
    service = serve()
    service.put("in/good", GOOD)
    service.imported("in/good")
    service.stop()
    backup = service.folder / "backup"
    backup.mkdir()
    state = list((service.folder / "data").glob("tasks.sqlite*"))
    for path in state:
        shutil.copy(path, backup)
    service.start()
    later = service.imported("in/good")["result"]["image_id"]
    service.stop()
    before = digests(service.images)
    for path in state:
        path.unlink(missing_ok=True)
    for path in backup.iterdir():
        shutil.copy(path, service.folder / "data")
    service.start()
    service.imported("in/good")
    assert f"{later}.vhd" in before
    assert before.items() <= digests(service.images).items()


def test_a_task_that_is_done_again_after_a_restore_makes_another_image(serve: Callable[..., Service]) -> None:
    service = serve()
    service.put("in/good", GOOD)
    task = service.create("import", {"import_from": "in/good"})
    first = service.wait(task)["result"]["image_id"]
    service.stop()
    with sqlite3.connect(service.folder / "data" / "tasks.sqlite") as database:
        # As in a backup from the moment when the task was waiting.
        database.execute(
            "UPDATE tasks SET status = 'pending', attempt = 0, tries = 0, expires_at = NULL, result = NULL"
        )
        database.execute("DELETE FROM images")
        database.execute("DELETE FROM pages")
    database.close()
    before = digests(service.images)
    service.put("in/good", fixed(2 * MIB).tobytes())
    service.start()
    second = service.wait(task)["result"]["image_id"]
    assert second != first
    assert before.items() <= digests(service.images).items()


def test_images_of_the_first_version_are_taken_over(serve: Callable[..., Service]) -> None:
    service = serve()
    service.put("in/good", GOOD)
    image = service.imported("in/good")["result"]["image_id"]
    service.stop()
    (service.images / MARK).unlink()
    (service.images / f"{image}.vhd").chmod(0o644)
    service.start()
    assert service.exported(image, "in")["status"] == "success"
    assert (service.images / MARK).exists()
    assert stat.S_IMODE((service.images / f"{image}.vhd").stat().st_mode) == 0o600


@pytest.mark.parametrize("made_by", ["us", "somebody"])
def test_state_tokens_and_images_are_their_owners_alone(
    serve: Callable[..., Service], tmp_path: Path, made_by: str
) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    old = os.umask(0o022)
    try:
        if made_by == "somebody":
            (folder / "data").mkdir(mode=0o755)
            (folder / "data" / "first-token.sha256").write_text("0" * 64 + "\n")
            (folder / "images").mkdir(mode=0o755)
        service = serve("--images", "images", folder=folder, static=False)
        service.stop()
        service = serve("--images", "images", folder=folder)
        service.put("in/good", GOOD)
        image = service.imported("in/good")["result"]["image_id"]
        assert service.exported(image, "in")["status"] == "success"
        theirs = {service.objects, service.objects.parent, service.objects / "in", service.objects / "in" / "good"}
        looked = 0
        for path in [*(folder / "data").rglob("*"), *(folder / "images").rglob("*")]:
            if path not in theirs:
                looked += 1
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert looked >= 5
    finally:
        os.umask(old)


@contextmanager
def overwriting(path: Path, *images: bytes) -> Iterator[None]:
    """Overwrite a file in place, again and again, with one image after the other."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException), path.open("r+b") as file:
            while True:
                for image in images:
                    file.seek(0)
                    for start in range(0, len(image), MIB):
                        file.write(image[start : start + MIB])
                        file.flush()
        os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def disk(letter: bytes, size: int) -> bytes:
    """A fixed disk full of one letter; whatever is half one and half another is a valid VHD, and neither."""
    return letter * size + fixed(size).tobytes()[-512:]


def test_what_is_overwritten_all_the_time_is_whole_or_refused(serve: Callable[..., Service]) -> None:
    service = serve()
    one, two = disk(b"1", 48 * MIB), disk(b"2", 48 * MIB)
    path = service.objects / service.put("in/changing", one)
    with overwriting(path, two, one):
        done = [service.imported("in/changing") for _ in range(4)]
    whole = {hashlib.sha256(each).hexdigest() for each in (one, two)}
    for task in done:
        if task["status"] == "success":
            image = task["result"]["image_id"]
            stored = hashlib.sha256((service.images / f"{image}.vhd").read_bytes()).hexdigest()
            assert stored in whole
            assert service.get(f"/v2/images/{image}").json["os_hash_value"] == stored
        else:
            assert task["message"].startswith("Error: The object changed while it was imported."), task
    assert "failure" in {task["status"] for task in done}  # or nothing was overwritten in time
    service.put("in/changing", two)
    assert service.imported("in/changing")["status"] == "success"


def test_what_is_overwritten_once_while_it_is_copied_is_read_again(serve: Callable[..., Service]) -> None:
    service = serve()
    one, two = disk(b"1", 200 * MIB), disk(b"2", 200 * MIB)
    whole = {hashlib.sha256(each).hexdigest() for each in (one, two)}
    for number in range(3):
        path = service.objects / service.put(f"in/{number}", one)
        task = service.create("import", {"import_from": f"in/{number}"})
        end = time.monotonic() + 30
        while not any(service.images.glob("*.part")):
            assert time.monotonic() < end
            time.sleep(0.001)
        with path.open("r+b") as file:
            file.write(two)
        done = service.wait(task)
        if done["status"] == "success":
            kept = (service.images / f"{done['result']['image_id']}.vhd").read_bytes()
            assert hashlib.sha256(kept).hexdigest() in whole
        else:
            assert done["message"].startswith("Error: The object changed while it was imported.")
    assert "changed while it was imported" in service.log


def test_a_change_whose_time_is_set_back_is_noticed(serve: Callable[..., Service]) -> None:
    service = serve()
    path = service.objects / service.put("in/changing", disk(b"1", 300 * MIB))
    os.utime(path, (1, 1))
    task = service.create("import", {"import_from": "in/changing"})
    changes = 0
    end = time.monotonic() + 60
    while service.get(f"/v2/tasks/{task}").json["status"] not in ("success", "failure"):
        if any(service.images.glob("*.part")):
            with path.open("r+b") as file:
                file.seek(200 * MIB)
                file.write(os.urandom(16))
            os.utime(path, (1, 1))
            changes += 1
        assert time.monotonic() < end
        time.sleep(0.01)
    assert changes
    assert service.wait(task)["message"].startswith("Error: The object changed while it was imported.")
    assert service.kept == []


def test_a_file_that_grows_while_it_is_imported(serve: Callable[..., Service]) -> None:
    service = serve()
    whole = dynamic(64 * MIB, blocks=list(range(30))).tobytes()
    path = service.objects / service.put("in/growing", whole[: len(whole) // 2])
    task = service.create("import", {"import_from": "in/growing"})
    with path.open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    done = service.wait(task)
    if done["status"] == "success":
        assert (service.images / f"{done['result']['image_id']}.vhd").read_bytes() == whole
    else:
        assert done["message"][:3] in ("396", "Err")
