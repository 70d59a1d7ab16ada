"""Images that the installed qemu-img makes here: the verdicts that its habits bring, and its other formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.writer import GIB, MIB
from vhdcheck import Code, Severity, check
from vhdcheck.format.structures import DYNAMIC, FIXED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vhdcheck import Report

    Tool = Callable[..., str]

LIMIT = 40 * GIB
# What is asked for -> the size that qemu-img rounds it up to without force_size: the next that a geometry spans.
ROUNDED = {
    "1M": 1_079_296,
    "3M": 3_168_256,
    "10M": 10_514_432,
    "20M": 20_994_048,
    "40G": 42_951_106_560,
    "41G": 44_024_832_000,
    "127G": 136_365_219_840,
    "2040G": 2_190_433_320_960,  # over the largest geometry, so as it is
}
EXACT = {size: int(size[:-1]) * (GIB if size.endswith("G") else MIB) for size in ROUNDED}


@pytest.fixture(params=ROUNDED)
def size(request: pytest.FixtureRequest) -> str:
    """A size as qemu-img reads it."""
    return str(request.param)


@pytest.fixture(params=["fixed", "dynamic"])
def kind(request: pytest.FixtureRequest) -> str:
    """A subformat."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["rounded", "force_size"])
def force(request: pytest.FixtureRequest) -> bool:
    """Whether the size is kept as it is."""
    return bool(request.param)


@pytest.fixture
def created(run_tool: Tool, tmp_path: Path, size: str, kind: str, force: bool) -> Path:
    """A new image."""
    path = tmp_path / "image.vhd"
    option = f"subformat={kind},force_size={'on' if force else 'off'}"
    run_tool("qemu-img", "create", "-q", "-f", "vpc", "-o", option, path, size)
    return path


def errors(report: Report) -> set[str]:
    """Return what an image is refused for."""
    return {finding.slug for finding in report.findings if finding.severity == Severity.ERROR}


def test_new_image(created: Path, size: str, kind: str, force: bool) -> None:
    virtual = (EXACT if force else ROUNDED)[size]
    forced_geometry = force and size != "2040G"  # there the largest geometry is right

    generic = check(created, target="generic")
    assert generic.ok
    footer = generic.image.footer
    assert footer is not None
    assert footer.current_size == virtual
    assert footer.disk_type == (FIXED if kind == "fixed" else DYNAMIC)
    assert footer.creator_application == (b"qem2" if force else b"qemu")
    slugs = {finding.slug for finding in generic.findings}
    assert ("geometry-forced" in slugs) == forced_geometry
    assert slugs <= {"geometry-forced", "size-under-3-mib", "no-blocks"}

    azure = {"disk-type-not-accepted"} if kind == "dynamic" else set()
    azure |= {"virtual-size-multiple"} if virtual % MIB else set()
    azure |= {"virtual-size-under-minimum"} if virtual < 20 * MIB else set()
    assert errors(check(created, target="azure")) == azure
    if kind == "fixed":
        assert created.stat().st_size == virtual + 512

    rackspace = {"virtual-size-over-limit"} if virtual > LIMIT else set()
    rackspace |= {"physical-size-over-limit"} if created.stat().st_size > LIMIT else set()
    rackspace |= {"geometry-forced"} if forced_geometry else set()
    report = check(created)
    assert errors(report) == rackspace
    heads = [code for code, slug in RACKSPACE_CODES.items() if slug in rackspace]
    assert report.code == (heads[0] if heads else None)


RACKSPACE_CODES = {
    Code.VIRTUAL_SIZE: "virtual-size-over-limit",
    Code.PHYSICAL_SIZE: "physical-size-over-limit",
    Code.UNSPECIFIED: "geometry-forced",
}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dynamic,force_size=off 40G", 413),  # 1 433 600 bytes too many
        ("dynamic,force_size=on 40G", 111),  # exactly 40 GiB, and a geometry that XenServer refuses
        ("fixed,force_size=on 40G", 609),  # the footer is 512 bytes too many
        ("fixed,force_size=off 42949017600", None),  # the largest that passes either way
        ("dynamic,force_size=off 42949017600", None),
        ("dynamic,force_size=off 42949017601", 413),  # one byte more is rounded up over the limit
    ],
)
def test_near_the_limit_of_40_gib(name: str, code: int | None, run_tool: Tool, tmp_path: Path) -> None:
    option, size = name.split()
    run_tool("qemu-img", "create", "-q", "-f", "vpc", "-o", f"subformat={option}", tmp_path / "a.vhd", size)
    assert check(tmp_path / "a.vhd").code == code


@pytest.mark.parametrize("size", ["10M"], indirect=True)
def test_written_image(created: Path, kind: str, force: bool, run_tool: Tool) -> None:
    writes = ["-c", "write -P 1 0 64k", "-c", "write -P 2 7M 512", "-c", "write -P 3 3M 2M"]
    run_tool("qemu-io", "-f", "vpc", *writes, created)
    report = check(created, target="generic", deep=True)
    assert report.ok
    if kind == "dynamic":
        assert report.image.table is not None
        assert (report.image.table.used, report.image.table.first_block_used) == (4, True)  # 0, 3, 1, 2: as written
        assert not report.image.table.in_order
        assert report.image.bitmaps is not None
        assert report.image.bitmaps.full.count == 4
    assert check(created).code == (111 if force else None)


OTHERS = {"qcow2": "a QCOW2 image", "vhdx": "a VHDX image", "vmdk": "a VMDK image", "vdi": "a VDI image"}


@pytest.fixture(params=[*OTHERS, "raw"])
def other(request: pytest.FixtureRequest, run_tool: Tool, tmp_path: Path) -> tuple[Path, str]:
    """A disk with a boot sector in another format, under the wrong name; and what it is."""
    raw = bytearray(10 * MIB)
    raw[510:512], raw[MIB : MIB + 4] = b"\x55\xaa", b"data"
    disk = tmp_path / "disk.raw"
    disk.write_bytes(raw)
    path = tmp_path / "disk.vhd"
    run_tool("qemu-img", "convert", "-f", "raw", "-O", request.param, disk, path)
    return path, OTHERS.get(request.param, "a raw disk with a boot sector (MBR), without a footer")


@pytest.mark.parametrize("target", ["rackspace", "generic"])
def test_another_format(target: str, other: tuple[Path, str], tmp_path: Path, run_tool: Tool) -> None:
    path, name = other
    report = check(path, target=target)
    assert report.code == Code.NOT_A_VHD
    (finding,) = (finding for finding in report.findings if finding.severity == Severity.ERROR)
    assert (finding.slug, finding.found) == ("other-format", name)

    lookalike = report.image.lookalike
    assert lookalike is not None
    mended = tmp_path / "mended.vhd"
    run_tool("qemu-img", "convert", "-f", lookalike.driver, "-O", "vpc", path, mended)
    after = check(mended, target=target)
    assert after.ok
    assert after.image.footer is not None
    assert after.image.footer.current_size == 10_514_432
    run_tool("qemu-img", "convert", "-f", "vpc", "-O", "raw", mended, tmp_path / "back.raw")
    assert (tmp_path / "back.raw").read_bytes()[: 10 * MIB] == (tmp_path / "disk.raw").read_bytes()
