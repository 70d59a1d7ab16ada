"""Imports into a real Glance: what is refused and what passes, and what is left of either."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, differencing, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.glance.server import Glance

pytestmark = pytest.mark.slow

SOUND = dynamic(10 * MIB, blocks=[0]).tobytes()
BROKEN = dynamic(10 * MIB, blocks=[0], checksum=1).tobytes()
RACKSPACE = "[vhdcheck]\ntarget = rackspace\nmax_physical_size = 3MiB\n"
REFUSED = {
    "396": (BROKEN, "VHD103 footer-checksum"),
    "721": (differencing(10 * MIB).tobytes(), "VHD501 differencing-disk"),
    "523": (dynamic(10 * MIB, disk_type=0).tobytes(), "VHD117 disk-type"),
    "413": (dynamic(42_951_106_560).tobytes(), "VHD701 virtual-size-over-limit"),
    "609": (dynamic(10 * MIB, blocks=[0, 1]).tobytes(), "VHD702 physical-size-over-limit"),
    "614": (dynamic(10 * MIB, unique_id=bytes(16)).tobytes(), "VHD118 unique-id-zero"),
    "111": (dynamic(10 * MIB, hidden=1).tobytes(), "VHD122 hidden"),
}


def is_as_before(image: dict[str, Any]) -> bool:
    """Whether an image can be uploaded again: nothing of it is stored or known, and nobody holds it."""
    known = [image.get(name) for name in ("size", "virtual_size", "checksum", "os_glance_importing_to_stores")]
    return image["status"] == "queued" and not any(known) and "os_glance_import_task" not in image


def test_a_sound_image(glance: Glance) -> None:
    task, image = glance.imported(SOUND)
    assert (task["status"], image["status"], image["virtual_size"]) == ("success", "active", 10 * MIB)
    assert glance.data(image["id"]) == SOUND
    assert glance.staged == []
    assert f"image {image['id']}: accepted" in glance.log


@pytest.fixture(scope="module")
def limited(make: Callable[..., Glance]) -> Iterator[Glance]:
    with make(RACKSPACE) as running:
        yield running


@pytest.mark.parametrize("code", REFUSED)
def test_each_code(code: str, limited: Glance) -> None:
    data, finding = REFUSED[code]
    task, image = limited.imported(data)
    assert task["status"] == "failure"
    assert task["message"].startswith(f"{code}: The image cannot be imported. ")
    assert task["message"].endswith(f" ({finding})")
    assert is_as_before(image)
    assert limited.staged == []
    rule, slug = finding.split()
    assert f"image {image['id']}: error[{rule}] {slug}: " in limited.log

    limited.stage(image["id"], SOUND)  # the right one, in its place
    limited.begin(image["id"])
    assert limited.end(image["id"])[1]["status"] == "active"


def test_no_limits_unless_asked_for(glance: Glance) -> None:
    for code in ("413", "609", "614", "111"):
        assert glance.imported(REFUSED[code][0])[1]["status"] == "active"
    assert glance.imported(REFUSED["721"][0])[0]["message"].startswith("721: ")


@pytest.mark.parametrize("original", [5 * MIB, 20 * MIB, 0])
def test_the_size_of_a_disk_that_was_resized(original: int, glance: Glance) -> None:
    """By itself Glance states the original size."""
    _, image = glance.imported(dynamic(10 * MIB, blocks=[0], original_size=original).tobytes())
    assert (image["status"], image["virtual_size"]) == ("active", 10 * MIB)


def test_fixed_disks(glance: Glance, make: Callable[..., Glance], documented: dict[str, str]) -> None:
    data = fixed(10 * MIB).tobytes()
    task, image = glance.imported(data)
    assert task["message"].startswith("111: ")
    assert "[image_format] require_image_format_match" in task["message"]
    assert is_as_before(image)
    with make(documented["fixed"]) as lenient:
        _, image = lenient.imported(data)
        assert (image["status"], image["virtual_size"]) == ("active", 10 * MIB)
        assert lenient.data(image["id"]) == data
        assert lenient.imported(fixed(10 * MIB, checksum=1).tobytes())[0]["message"].startswith("396: ")


def test_other_formats_pass(glance: Glance) -> None:
    for data in (b"no image of any kind" * 100, fixed(MIB, checksum=1).tobytes()):
        _, image = glance.imported(data, "raw")
        assert (image["status"], glance.data(image["id"])) == ("active", data)
        assert image["id"] not in "".join(line for line in glance.log.splitlines() if "vhdcheck" in line)


def test_what_glance_downloads(glance: Glance) -> None:
    assert glance.downloaded(SOUND)[1]["status"] == "active"
    task, image = glance.downloaded(BROKEN)
    assert task["message"].startswith("396: ")
    assert is_as_before(image)
    assert glance.staged == []
    glance.stage(image["id"], SOUND)
    glance.begin(image["id"])
    assert glance.end(image["id"])[1]["status"] == "active"


def test_twenty_at_once(glance: Glance) -> None:
    images = [glance.staged_image(SOUND if number % 2 else BROKEN) for number in range(20)]
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(glance.begin, images))
        ends = list(threads.map(glance.end, images))
    assert [image["status"] for _, image in ends] == ["queued", "active"] * 10
    assert [(task["message"] or "")[:5] == "396: " for task, _ in ends] == [True, False] * 10
    assert all(image["virtual_size"] == 10 * MIB for _, image in ends[1::2])
    assert glance.staged == []
