"""Disks with partitions and file systems, made by the usual tools, through every step that moves their end."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import GIB, MIB, SECTOR
from vhdcheck import Target
from vhdcheck.mend import mend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXT4, FAT = (MIB, 16 * MIB), (20 * MIB, 8 * MIB)
"""Where the two partitions lie, and how long they are."""
TOOLS = ("qemu-img", "sgdisk", "sfdisk", "mkfs.ext4", "mkfs.fat", "e2fsck", "fsck.fat")


def tool(*words: str | Path, given: str | None = None) -> str:
    done = subprocess.run(list(map(str, words)), input=given, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def make_disk(folder: Path, scheme: str, size: int) -> Path:
    path = folder / f"{scheme}.raw"
    with path.open("wb") as file:
        file.truncate(size)
    (first, length), (second, other) = EXT4, FAT
    if scheme == "gpt":
        places = [f"{start // SECTOR}:{(start + long) // SECTOR - 1}" for start, long in (EXT4, FAT)]
        tool("sgdisk", "-n", f"1:{places[0]}", "-n", f"2:{places[1]}", "-t", "2:0700", path)
    else:
        lines = [f"start={start // SECTOR}, size={long // SECTOR}, type=83\n" for start, long in (EXT4, FAT)]
        tool("sfdisk", path, given="".join(lines))
    content = folder / "content"
    content.mkdir(exist_ok=True)
    (content / "file").write_bytes(bytes(range(256)) * 4096)
    for words, start, long in (
        (("mkfs.ext4", "-q", "-F", "-d", content), first, length),
        (("mkfs.fat",), second, other),
    ):
        part = folder / "part"
        part.unlink(missing_ok=True)
        with part.open("wb") as file:
            file.truncate(long)
        tool(*words, part)
        with path.open("r+b") as file:
            file.seek(start)
            file.write(part.read_bytes())
    return path


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A disk of 64 MiB with a GPT, and one with an MBR, each with ext4 and FAT."""
    if missing := [name for name in TOOLS if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("disks")
    return {scheme: make_disk(folder, scheme, 64 * MIB) for scheme in ("gpt", "mbr")}


def is_content(image: Path, scheme: str, folder: Path) -> None:
    """Let the tools look at the disk of an image as qemu reads it."""
    raw = folder / "read.raw"
    tool("qemu-img", "convert", "-f", "vpc", "-O", "raw", image, raw)
    if scheme == "gpt":
        said = tool("sgdisk", "-v", raw)
        assert "No problems found" in said, said
    said = tool("sfdisk", "--verify", raw)
    assert "No errors detected" in said, said
    for words, (start, length) in ((("e2fsck", "-fn"), EXT4), (("fsck.fat", "-n"), FAT)):
        with raw.open("rb") as file:
            file.seek(start)
            (folder / "part").write_bytes(file.read(length))
        tool(*words, folder / "part")


WAYS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "shrink": ({"max_virtual_size": 40 * MIB}, {"shrink"}),
    "shrink to the last byte": ({"max_virtual_size": 28 * MIB + 33 * SECTOR}, {"shrink"}),
    "enlarge": ({"target": Target("own", min_virtual_size=100 * MIB)}, {"enlarge"}),
    "enlarge by a sector": ({"target": Target("own", virtual_size_multiple=7 * SECTOR)}, {"enlarge"}),
    "fixed": ({"to": "fixed"}, {"fixed", "rebuild"}),
    "dynamic": ({"to": "dynamic"}, {"dynamic", "rebuild"}),
    "Azure": ({"target": "azure"}, {"fixed"}),
}


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("scheme", ["gpt", "mbr"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way(way: str, scheme: str, subformat: str, disks: dict[str, Path], tmp_path: Path) -> None:
    image, out = tmp_path / "in.vhd", tmp_path / "out.vhd"
    options, expected = WAYS[way]
    tool(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vpc",
        "-o",
        f"subformat={subformat},force_size=on",
        disks[scheme],
        image,
    )
    mending = mend(image, out, **{"target": "generic", **options})
    assert mending.reasons == ()
    steps = {step.kind for step in mending.plan.steps}
    assert steps & expected or (way in ("fixed", "Azure") and subformat == "fixed") or way == subformat
    is_content(out, scheme, tmp_path)


@pytest.mark.parametrize("scheme", ["gpt", "mbr"])
def test_a_raw_disk(scheme: str, disks: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.vhd"
    for target in ("rackspace", "azure"):
        out.unlink(missing_ok=True)
        assert mend(disks[scheme], out, target=target).reasons == ()
        is_content(out, scheme, tmp_path)


@pytest.mark.parametrize("scheme", ["gpt", "mbr"])
def test_a_partition_that_reaches_behind_the_new_end(scheme: str, disks: dict[str, Path], tmp_path: Path) -> None:
    image = tmp_path / "in.vhd"
    tool("qemu-img", "convert", "-f", "raw", "-O", "vpc", disks[scheme], image)
    limit = 28 * MIB - SECTOR + (33 * SECTOR if scheme == "gpt" else 0)
    mending = mend(image, tmp_path / "out.vhd", max_virtual_size=limit)
    assert mending.reasons[0].startswith("partition 2 ends at 28 MiB (29 360 128 bytes), and reaches 512 bytes over")
    assert not (tmp_path / "out.vhd").exists()


def test_the_example_of_the_readme(tmp_path: Path, run_tool: Callable[..., str]) -> None:
    """`qemu-img create 40G` makes a disk that is 1 433 600 bytes too large, also with a GPT on it: one command."""
    raw, image, out = tmp_path / "disk.raw", tmp_path / "in.vhd", tmp_path / "out.vhd"
    run_tool("qemu-img", "create", "-q", "-f", "vpc", image, "40G")
    size = 42_951_106_560
    if shutil.which("sgdisk") is None:
        pytest.skip("sgdisk is not installed")
    with raw.open("wb") as file:
        file.truncate(size)
    tool("sgdisk", "-n", "1:2048:+30G", raw)
    image.unlink()
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "vpc", raw, image)
    mending = mend(image, out)
    assert [step.kind for step in mending.plan.steps] == ["rebuild", "shrink"]
    assert mending.plan.size == 40 * GIB
    back = tmp_path / "back.raw"
    run_tool("qemu-img", "convert", "-f", "vpc", "-O", "raw", out, back)
    assert back.stat().st_size == 40 * GIB
    assert "No problems found" in tool("sgdisk", "-v", back)


def test_a_gpt_that_is_damaged_is_not_moved(disks: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(disks["gpt"].read_bytes())
    data[SECTOR + 40] ^= 1
    raw = tmp_path / "disk.raw"
    raw.write_bytes(data)
    image = tmp_path / "in.vhd"
    tool("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", raw, image)
    for options in ({"max_virtual_size": 40 * MIB}, {"target": Target("own", min_virtual_size=100 * MIB)}):
        mending = mend(image, tmp_path / "out.vhd", **options)
        assert "the header of its partition table (GPT) is damaged" in mending.reasons[0]
    assert mend(image, tmp_path / "out.vhd", to="fixed").ok, "where the end stays, that is the guest's business"


def test_too_small_for_a_gpt(disks: dict[str, Path], tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(4 * MIB)
    tool("sgdisk", "-o", raw)
    mending = mend(raw, tmp_path / "out.vhd", target="generic", max_virtual_size=60 * SECTOR)
    assert "too few for the disk's partition table" in mending.reasons[0]
    assert mend(raw, tmp_path / "out.vhd", target="generic", max_virtual_size=68 * SECTOR).ok
