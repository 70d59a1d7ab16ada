"""Images that are mended in the staging area: only where the repair is certain, and never silently."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, dynamic
from vhdcheck import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.glance.server import Glance

pytestmark = pytest.mark.slow

OPTIONS = "[vhdcheck]\ntarget = rackspace\nmend = true\n"
WITHOUT_ID = dynamic(10 * MIB, blocks=[0, 2], unique_id=bytes(16), hidden=1).tobytes()


@pytest.fixture(scope="module")
def mending(make: Callable[..., Glance]) -> Iterator[Glance]:
    with make(OPTIONS) as running:
        yield running


@pytest.mark.parametrize("end", [b"", bytes(2 * 512)], ids=["fields", "length"])
def test_a_certain_repair(end: bytes, mending: Glance) -> None:
    """A file that is cut as well gets another length, which Glance compares with what it was told."""
    data = WITHOUT_ID + end
    task, image = mending.imported(data)
    assert (task["status"], image["status"], image["virtual_size"]) == ("success", "active", 10 * MIB)
    stored = mending.data(image["id"])
    assert check(stored, target="rackspace").ok
    assert (image["size"], len(stored)) == (len(stored), len(WITHOUT_ID))
    assert stored[2048 : -512 - 512] == WITHOUT_ID[2048 : -512 - 512], "blocks and what is between them"
    assert image["os_hash_value"] == hashlib.sha512(stored).hexdigest()
    (line,) = [line for line in mending.log.splitlines() if f"image {image['id']}: mended: " in line]
    assert f"before {hashlib.sha512(data).hexdigest()}, after {image['os_hash_value']}" in line
    assert f"image {image['id']}: warning[VHD118] unique-id-zero" in mending.log or "error[VHD118]" in mending.log
    assert mending.staged == []


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (dynamic(10 * MIB, blocks={0: 6, 1: 7}).tobytes(), "396: ", "not mended: "),
        (dynamic(42_951_106_560, blocks=[0]).tobytes(), "413: ", "not mended: that depends on the guest's data"),
    ],
    ids=["impossible", "on a condition"],
)
def test_no_other_repair(data: bytes, code: str, reason: str, mending: Glance) -> None:
    task, image = mending.imported(data)
    assert task["message"].startswith(code)
    assert (image["status"], mending.staged) == ("queued", [])
    assert f"image {image['id']}: {reason}" in mending.log


def test_a_signed_image_is_not_changed(mending: Glance) -> None:
    task, image = mending.imported(WITHOUT_ID, img_signature="c2lnbmVk")
    assert task["message"].startswith("614: ")
    assert f"image {image['id']}: mended" not in mending.log


def test_a_sound_image_is_not_changed(mending: Glance) -> None:
    data = dynamic(10 * MIB, blocks=[0]).tobytes()
    _, image = mending.imported(data)
    assert mending.data(image["id"]) == data


def test_not_unless_it_is_asked_for(make: Callable[..., Glance]) -> None:
    with make(OPTIONS.replace("true", "false")) as glance:
        assert glance.imported(WITHOUT_ID)[0]["message"].startswith("614: ")


def test_a_kill_while_it_mends(make: Callable[..., Glance]) -> None:
    """There is the old file or the new one, and nothing beside it."""
    data = dynamic(256 * MIB, blocks=range(128), unique_id=bytes(16)).tobytes()
    with make(OPTIONS) as glance:
        image = glance.staged_image(data)
        glance.begin(image)
        end = time.monotonic() + 60
        while f"image {image}: to be mended: " not in glance.log:
            assert time.monotonic() < end, glance.log
            time.sleep(0.005)
        glance.kill()
        assert glance.staged == [image]
        left = (glance.folder / "staging" / image).read_bytes()
        assert left == data or check(left, target="rackspace").ok
