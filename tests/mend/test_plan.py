"""Plans: which steps an image and a target lead to, on which conditions; and that `mend` does exactly that."""

from __future__ import annotations

import random
import shlex
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import DIFFERENCING, GIB, KIB, MIB, QEMU, SECTOR, TAP, Image, dynamic, fixed
from tests.mend.conftest import guest_data
from vhdcheck import Target, UsageError, check
from vhdcheck.mend import Mending, Plan, mend, plan
from vhdcheck.targets import load

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_800_000_000
NOISE = random.Random(5)
DATA = b"\1guest" * 100
TARGETS = ("generic", "rackspace", "azure", "aws", "xenserver", "hyper-v")


def planned(image: Image | bytes, target: str | Target = "rackspace", **options: Any) -> Plan:
    data = image if isinstance(image, bytes) else image.tobytes()
    return plan(data, target=target, now=NOW, **options)


def kinds(found: Plan) -> list[str]:
    return [step.kind for step in found.steps]


def done(image: Image, folder: Path, target: str | Target = "rackspace", **options: Any) -> Mending:
    """Mend, and hold that the plan said so."""
    source, out = image.write(folder / "in.vhd"), folder / "out.vhd"
    out.unlink(missing_ok=True)
    said = plan(source, target=target, now=NOW, **options)
    mending = mend(source, out, target=target, now=NOW, **options)
    assert said.possible or (mending.reasons == said.reasons and not out.exists())
    assert (said.steps, said.conditions) == (mending.plan.steps, mending.plan.conditions)
    assert mending.ok == out.exists()
    if mending.ok:
        report = check(out, target=target, now=NOW)
        assert report.ok
        assert report.image.footer is not None
        assert report.image.footer.current_size == said.size
        assert said.least_length <= out.stat().st_size <= said.length
    else:
        assert said.conditions or not said.possible
    return mending


def test_nothing_to_do() -> None:
    found = planned(dynamic(10 * MIB, blocks=[0]))
    assert (found.possible, found.steps, found.command, found.reasons) == (True, (), (), ())


SHORT = dynamic(3 * MIB, blocks=[0, 1], content={1: DATA}, tail=False).cut(MIB)
SHORT.append(dynamic(3 * MIB).tobytes()[-SECTOR:])
CASES: list[tuple[str, Image, str, list[str]]] = [
    ("an ID of zeros", fixed(3 * MIB, unique_id=bytes(16)), "rackspace", ["correct"]),
    ("bytes behind the footer", fixed(3 * MIB).append(b"\n"), "rackspace", ["cut"]),
    ("both", fixed(3 * MIB, unique_id=bytes(16)).append(b"\n"), "rackspace", ["correct", "cut"]),
    ("`qemu-img resize -f raw`", fixed(3 * MIB).append(bytes(40 * KIB)), "rackspace", ["cut"]),
    ("blocks of 512 KiB", dynamic(10 * MIB, blocks=[3, 1], block_size=512 * KIB), "rackspace", ["rebuild"]),
    ("the same, an ID", dynamic(10 * MIB, block_size=512, unique_id=bytes(16)), "xenserver", ["correct", "rebuild"]),
    ("no batmap", dynamic(10 * MIB, blocks=[1], batmap=False, **TAP), "xenserver", ["rebuild"]),
    ("a dynamic disk for Azure", dynamic(20 * MIB, blocks=[1]), "azure", ["fixed"]),
    ("a small one", dynamic(10 * MIB, blocks=[1]), "azure", ["fixed", "enlarge"]),
    ("an odd size", fixed(20 * MIB + 512), "azure", ["rebuild", "enlarge"]),
    ("under a minimum", dynamic(MIB), "hyper-v", ["rebuild", "enlarge"]),
    ("40 GiB and 512 bytes in the file", fixed(40 * GIB), "rackspace", ["dynamic"]),
    ("`qemu-img create 40G`", dynamic(42951106560, **QEMU), "rackspace", ["rebuild", "shrink"]),
    ("no whole sector at the end", dynamic(10 * MIB + 100, blocks=[5]), "generic", ["rebuild", "enlarge"]),
    ("a version that is none", fixed(3 * MIB, version=0x20000), "generic", ["rebuild"]),
    ("a short last block", SHORT, "generic", ["rebuild"]),
    ("left-overs of a parent", dynamic(10 * MIB, header={"parent_timestamp": 9}), "xenserver", ["rebuild"]),
]


@pytest.mark.parametrize(("image", "target", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_steps(image: Image, target: str, expected: list[str], tmp_path: Path) -> None:
    mending = done(image, tmp_path, target)
    assert (kinds(mending.plan), mending.reasons) == (expected, ())


IN_DOUBT: list[tuple[str, Image, str]] = [
    ("two blocks at one place", dynamic(10 * MIB, blocks=[0, 1], bat={1: 4}, block_size=512 * KIB), "VHD306"),
    ("a block over another", dynamic(10 * MIB, blocks=[0, 1], spacing=4096), "VHD307"),
    ("cut off", dynamic(10 * MIB, blocks=[0, 1]).cut(MIB), "table does not say"),
    ("a fixed disk cut off", Image(MIB).append(fixed(3 * MIB).tobytes()[-512:]), "VHD607"),
    ("a child", dynamic(10 * MIB, blocks=[0], disk_type=DIFFERENCING), "VHD501"),
    ("saved", dynamic(10 * MIB, saved_state=1), "VHD120"),
    ("a parent's ID", dynamic(10 * MIB, header={"parent_id": b"p" * 16}), "VHD502"),
    ("another type", dynamic(10 * MIB, disk_type=5), "VHD117"),
    ("no disk", fixed(0), "VHD150"),
]


@pytest.mark.parametrize(("image", "words"), [case[1:] for case in IN_DOUBT], ids=[case[0] for case in IN_DOUBT])
def test_data_in_doubt(image: Image, words: str, tmp_path: Path) -> None:
    """Nothing makes these pass, and no way round it does: neither another type nor another size."""
    for options in ({}, {"to": "fixed"}, {"to": "dynamic"}, {"max_virtual_size": 4 * MIB}):
        mending = done(image, tmp_path, "rackspace", **options)
        assert words in " ".join(mending.reasons)
        assert not mending.plan.possible


def test_what_a_bitmap_calls_empty(tmp_path: Path) -> None:
    """Readers disagree where it holds data; where it holds zeros they agree."""
    layout: dict[str, Any] = {"blocks": [1], "block_size": 4 * KIB}
    mending = done(dynamic(20 * KIB, content={1: b"x"}, bitmap=b"\x7f", **layout), tmp_path)
    assert mending.reasons[0].startswith("sector 8 of the disk holds data")
    assert done(dynamic(20 * KIB, content={1: bytes(512) + b"x"}, bitmap=b"\x7f", **layout), tmp_path).ok


def test_between_a_fixed_disk_and_its_footer(tmp_path: Path) -> None:
    grown = fixed(20 * MIB, tail=False).append(bytes(4 * KIB) + fixed(20 * MIB).tobytes()[-512:])
    assert kinds(done(grown, tmp_path, "azure").plan) == ["rebuild"]
    mending = done(grown.patch(20 * MIB + 100, b"x"), tmp_path, "azure")
    assert mending.reasons[0].startswith("between the end of the disk and the footer, at 0x1400064")


def test_a_disk_without_partitions_is_not_cut(tmp_path: Path) -> None:
    image = dynamic(20 * MIB, blocks=[0], content={0: b"x"})
    mending = done(image, tmp_path, max_virtual_size=10 * MIB)
    assert "no partition table" in mending.reasons[0]
    assert done(dynamic(20 * MIB, blocks=[0, 9]), tmp_path, max_virtual_size=10 * MIB).ok


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    """What a dynamic file measures is told at the most beforehand, and exactly once it is read."""
    image = fixed(20 * MIB, content=b"x")
    mending = done(image.patch(9 * MIB, b"y"), tmp_path, max_physical_size=6 * MIB)
    assert (kinds(mending.plan), mending.plan.conditions[0].limit) == (["dynamic"], 2)
    assert mending.ok
    mending = done(image.patch(15 * MIB, b"z"), tmp_path, max_physical_size=6 * MIB)
    (reason,) = mending.reasons
    assert reason == (
        "3 blocks of 2 MiB hold data, and the destination's limit on the file's length leaves room for 2: free space"
        " inside the guest, and fill it with zeros"
    )
    assert not planned(image, max_physical_size=1 * KIB).possible


def test_to_another_type(tmp_path: Path) -> None:
    there = done(dynamic(10 * MIB, blocks=[2], content={2: DATA}), tmp_path, "generic", to="fixed")
    assert (kinds(there.plan), there.plan.disk_type) == (["fixed"], "fixed")
    (tmp_path / "out.vhd").rename(tmp_path / "fixed.vhd")
    back = done(Image.from_bytes((tmp_path / "fixed.vhd").read_bytes()), tmp_path, "generic", to="dynamic")
    assert (kinds(back.plan), back.sha256) == (["dynamic"], there.sha256)
    assert planned(dynamic(10 * MIB), "generic", to="dynamic").steps == ()
    assert not planned(dynamic(20 * MIB), "azure", to="dynamic").possible
    with pytest.raises(UsageError, match="no disk type"):
        planned(dynamic(10 * MIB), to="differencing")


def test_a_raw_disk(tmp_path: Path) -> None:
    raw = Image(10 * MIB + 100).patch(0, DATA).patch(510, b"\x55\xaa").patch(10 * MIB, b"end")
    mending = done(raw, tmp_path)
    assert (kinds(mending.plan), mending.plan.size) == (["wrap", "enlarge"], 10 * MIB + 512)
    assert guest_data(tmp_path / "out.vhd") == raw.tobytes().ljust(10 * MIB + 512, b"\0")
    unknown = Image(10 * MIB).patch(MIB, b"data")
    assert planned(unknown).reasons == ("VHD601 no-footer: there is no footer",)
    assert kinds(done(unknown, tmp_path, raw=True).plan) == ["wrap"]
    assert "it has the footer of a VHD" in planned(fixed(3 * MIB), raw=True).reasons[0]
    assert planned(b"", raw=True).reasons == ("the file is empty",)


def test_another_format(tmp_path: Path, run_tool: Callable[..., str]) -> None:
    """The commands of the plan are run as they stand."""
    raw = tmp_path / "disk.img"
    raw.write_bytes((DATA + bytes(4 * MIB))[: 4 * MIB])
    for driver in ("qcow2", "vmdk", "vdi", "vhdx"):
        image = tmp_path / f"{driver}.{driver}"
        run_tool("qemu-img", "convert", "-f", "raw", "-O", driver, raw, image)
        found = plan(image, target="rackspace", now=NOW)
        assert (found.possible, found.reasons[0][:6]) == (False, "VHD602")
        for command in (found.first, found.command):
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        copy = guest_data(Path(found.command[found.command.index("-o") + 1]))
        assert copy == raw.read_bytes()


def test_the_command_is_the_plan(tmp_path: Path) -> None:
    """It can be pasted, in a shell, where it was printed; the name of the copy is not taken."""
    source = dynamic(10 * MIB, blocks=[0], content={0: DATA}).write(tmp_path / "it's \n$(one).vhd")
    found = planned(b"")
    for number in range(2):
        found = plan(source, target="azure", max_virtual_size="1GiB", now=NOW)
        subprocess.run(shlex.join(found.command), shell=True, check=True, capture_output=True, timeout=60)  # noqa: S602
        copy = tmp_path / f"it's \n$(one)-mended{'-2' * number}.vhd"
        assert check(copy, target="azure").ok
    assert found.command[-4:] == ("--target", "azure", "--max-virtual-size", str(GIB))
    own = tmp_path / "own.toml"
    own.write_text('disk_types = ["fixed"]\n')
    found = plan(source, target=str(own), now=NOW, out=str(tmp_path / "own.vhd"))
    subprocess.run(found.command, check=True, capture_output=True, timeout=60)


def test_a_report_is_a_source(tmp_path: Path) -> None:
    path = fixed(3 * MIB, unique_id=bytes(16)).write(tmp_path / "in.vhd")
    report = check(path, target="xenserver", now=NOW)
    again, other = plan(report, now=NOW), plan(path, target="xenserver", now=NOW)
    assert replace(again, changes=()) == replace(other, changes=()), "but for the ID that is made anew"
    assert plan(report, target="azure", now=NOW).target == load("azure")


def test_planning_reads_no_data(tmp_path: Path) -> None:
    """Data that cannot be read (it is behind the end of a pipe, say) is not asked for."""

    class Watched:
        name = "watched"

        def __init__(self, data: bytes) -> None:
            self.data, self.size, self.read_bytes = data, len(data), 0

        def seek(self, at: int, whence: int = 0) -> int:
            self.at = at if whence == 0 else self.size
            return self.at

        def tell(self) -> int:
            return 0

        def read(self, length: int) -> bytes:
            self.read_bytes += length
            return self.data[self.at : self.at + length]

    file = Watched(dynamic(100 * MIB, blocks=range(20)).tobytes())
    found: Any = file
    assert plan(found, target="azure", now=NOW).possible
    assert file.read_bytes < 64 * KIB


@st.composite
def images(draw: st.DrawFn) -> tuple[Image, bytes]:
    """Any layout by the second writer, and the content of its disk."""
    size = draw(st.integers(1, 80)) * SECTOR
    if draw(st.booleans()):
        content = NOISE.randbytes(size)
        return fixed(size, content=content), content
    block_size = 1 << draw(st.integers(9, 13))
    count = -(-size // block_size)
    order = draw(st.permutations(range(count)))[: draw(st.integers(0, count))]
    parts = {block: NOISE.randbytes(min(block_size, size - block * block_size)) for block in order}
    data = bytearray(size)
    for block, part in parts.items():
        data[block * block_size : block * block_size + len(part)] = part
    image = dynamic(
        size,
        blocks=order,
        content=parts,
        block_size=block_size,
        align=draw(st.sampled_from([512, 4096])),
        slack=draw(st.sampled_from([0, 3584])),
        table_offset=draw(st.sampled_from([1536, 8192])),
        max_entries=count + draw(st.integers(0, 9)),
        **draw(st.sampled_from([{}, QEMU, {"unique_id": bytes(16)}, {"timestamp": 0xFFFF_FFFF}])),
    )
    return image, bytes(data)


OWN = Target(
    "own", virtual_size_multiple=7 * SECTOR, min_virtual_size=9 * SECTOR, refuses=frozenset({"block-size-unusual"})
)


@given(images(), st.sampled_from([*TARGETS, OWN]), st.sampled_from(["", "fixed", "dynamic"]), st.data())
def test_any_layout_through_any_plan(
    found: tuple[Image, bytes], target: str | Target, to: str, data: st.DataObject
) -> None:
    """What it holds is kept; damaged, it is refused or kept."""
    image, content = found
    raw = bytearray(image.tobytes())
    for _ in range(data.draw(st.sampled_from([0, 0, 1, 2]))):
        at = data.draw(
            st.one_of(st.integers(0, min(4096, len(raw)) - 1), st.integers(max(0, len(raw) - 600), len(raw) - 1))
        )
        part = data.draw(st.sampled_from([b"\0", b"\xff", b"\0" * 512, b"noise"]))
        raw[at : at + len(part)] = part[: len(raw) - at]
    is_damaged = bytes(raw) != image.tobytes()
    with tempfile.TemporaryDirectory() as folder:
        mending = done(Image.from_bytes(bytes(raw)), Path(folder), target, to=to)
        if not mending.ok:
            allowed = is_damaged or (target == "azure" and to == "dynamic")
            assert allowed, mending.reasons
            return
        if mending.plan.disk_type == "differencing":
            return
        new = guest_data(Path(folder) / "out.vhd")
        assert new is not None
        if not is_damaged:
            assert new.rstrip(b"\0") == content.rstrip(b"\0")
            assert len(new) == mending.plan.size


@pytest.mark.parametrize("more", [512, 63 * KIB, 64 * KIB, 1 * MIB, 5 * GIB])
def test_what_follows_a_dynamic_disk_is_cut_off(more: int, tmp_path: Path) -> None:
    """However long it is: the footer behind the blocks is that of this image, and not of another."""
    image = dynamic(10 * MIB, blocks=[0, 3])
    path = image.write(tmp_path / "in.vhd")
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole + more)
    mending = mend(path, tmp_path / "out.vhd", target="generic")
    assert (mending.reasons, kinds(mending.plan)) == ((), ["cut"])
    assert (tmp_path / "out.vhd").read_bytes() == image.tobytes()


def test_a_misspelt_option_is_told(tmp_path: Path) -> None:
    path = fixed(4 * MIB).write(tmp_path / "in.vhd")
    with pytest.raises(TypeError, match="taregt"):
        plan(path, taregt="azure")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="taregt"):
        mend(path, tmp_path / "out.vhd", taregt="azure")  # type: ignore[call-arg]
    assert not (tmp_path / "out.vhd").exists()
