"""The plugin's options, other plugins and stores beside it, and what fails an import because no check can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.writer import GIB, MIB, dynamic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.glance.server import Glance

pytestmark = pytest.mark.slow

SOUND = dynamic(10 * MIB, blocks=[0]).tobytes()
TEMPORARY = dynamic(10 * MIB, blocks=[0], features=3).tobytes()
NOT_CHECKED = "The image cannot be imported. vhdcheck could not check it: the log of this Glance says why."


def test_every_option(glance: Glance, make: Callable[..., Glance]) -> None:
    assert glance.imported(TEMPORARY)[1]["status"] == "active"
    options = "[vhdcheck]\ntarget = generic\nmax_virtual_size = 1GiB\nrefuse = warning\ndisk_formats = raw,vhd\n"
    with make(options) as strict:
        task, image = strict.imported(TEMPORARY)
        assert task["message"].startswith("111: ")
        assert task["message"].endswith(" (VHD108 temporary-disk)")
        assert image["status"] == "queued"
        assert strict.imported(SOUND)[1]["status"] == "active"
        assert strict.imported(b"no image of any kind" * 100, "raw")[0]["message"].startswith("396: ")
        assert strict.imported(dynamic(GIB).tobytes())[1]["status"] == "active"
        assert "exceeds the 1GB limit" in strict.imported(dynamic(GIB + 512).tobytes())[0]["message"]


def test_limits(make: Callable[..., Glance], documented: dict[str, str]) -> None:
    with make(documented["limits"]) as glance:
        assert glance.imported(dynamic(160 * GIB).tobytes())[1]["status"] == "active"
        assert "exceeds the 160GB limit" in glance.imported(dynamic(160 * GIB + 512).tobytes())[0]["message"]
        assert glance.imported(dynamic(GIB, unique_id=bytes(16)).tobytes())[0]["message"].startswith("614: ")


def test_a_glance_that_does_not_find_it_says_so(make: Callable[..., Glance], tmp_path: Path) -> None:
    """And goes on without it: why the document asks for a try."""
    with make(PYTHONPATH=str(tmp_path)) as glance:
        assert glance.imported(b"no image of any kind" * 100, "raw")[1]["status"] == "active"
        assert "Could not load vhdcheck" in glance.log


def is_not_checked(glance: Glance) -> bool:
    """Whether an import fails because no check can be made, and leaves nothing behind."""
    task, image = glance.imported(SOUND)
    assert f"image {image['id']}: vhdcheck could not check it" in glance.log
    return (task["message"], image["status"], glance.staged) == (NOT_CHECKED, "queued", [])


@pytest.mark.parametrize(
    ("option", "reason"),
    [("target = glnace", "unknown target 'glnace'"), ("refuse = errors", "Valid values are [error, warning]")],
)
def test_a_wrong_option_fails_imports(option: str, reason: str, make: Callable[..., Glance]) -> None:
    with make(f"[vhdcheck]\n{option}\n") as glance:
        assert is_not_checked(glance)
        assert reason in glance.log


def test_a_broken_installation_fails_imports(make: Callable[..., Glance], site: Path, tmp_path: Path) -> None:
    (tmp_path / "construct.py").write_text("raise ImportError('broken')\n")
    with make(PYTHONPATH=f"{tmp_path}:{site}") as glance:
        assert is_not_checked(glance)


def test_a_conversion_behind_it(make: Callable[..., Glance], run_tool: Callable[..., str]) -> None:
    """Glance hands qemu-img its own name of the format, which qemu-img does not know: no VHD can be converted."""
    run_tool("qemu-img", "--version")
    with make(plugins="[image_import_opts]\nimage_import_plugins = ['vhdcheck', 'image_conversion']\n") as glance:
        task, image = glance.imported(SOUND)
        assert (task["message"], image["status"], glance.staged) == ("Task failed due to Internal Error", "queued", [])
        assert f"image {image['id']}: accepted" in glance.log
        assert "Unknown driver 'vhd'" in glance.log


@pytest.mark.parametrize("at_once", [1, 2])
def test_several_stores(at_once: int, make: Callable[..., Glance], tmp_path: Path) -> None:
    stores = f"[DEFAULT]\nenabled_backends = files:file, more:file\n[more]\nfilesystem_store_datadir = {tmp_path}\n"
    plugins = f"[image_import_opts]\nimage_import_plugins = ['vhdcheck']\nmax_parallel_stores = {at_once}\n"
    with make(stores, plugins) as glance:
        image = glance.staged_image(dynamic(10 * MIB, blocks=[0], original_size=5 * MIB).tobytes())
        glance.begin(image, all_stores=True)
        _, stored = glance.end(image)
        assert (stored["status"], stored["virtual_size"], stored["stores"]) == ("active", 10 * MIB, "files,more")
        refused = glance.staged_image(dynamic(10 * MIB, blocks=[0], checksum=1).tobytes())
        glance.begin(refused, all_stores=True)
        task, image_of_it = glance.end(refused)
        assert task["message"].startswith("396: ")
        assert (image_of_it["status"], image_of_it["os_glance_failed_import"]) == ("queued", "files,more")
        assert "os_glance_import_task" not in image_of_it
        assert glance.staged == []
