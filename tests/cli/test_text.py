"""The report for people: its order, its numbers, its words, and remedies that work when they are pasted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, Image, dynamic, fixed
from vhdcheck.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"

REFUSED = """\
bad.vhd: refused: 413: The image cannot be imported. The virtual size of the disk exceeds the 40GB limit.

  error[VHD701] virtual-size-over-limit
    the disk is 1 GiB (1 073 741 824 bytes) larger than the limit
    at        0x14e30 footer.current_size, 8 bytes
    expected  at most 40 GiB (42 949 672 960 bytes)
    found     41 GiB (44 023 414 784 bytes)
    fix       """
DESCRIPTION = """
  A dynamic disk of 41 GiB (44 023 414 784 bytes) in a file of 84 KiB (86 016 bytes), made by
  Windows or Hyper-V ("win" 10.0) on Windows on 2024-01-01 at 00:00 UTC. 0 of 20 992 blocks of 2 MiB
  in use.

1 image: 1 refused; 1 error, 0 warnings, 1 note
"""
ACCEPTED = """\
good.vhd: accepted

  A fixed disk of 3 MiB (3 145 728 bytes) in a file of 3 MiB (3 146 240 bytes), made by Windows or
  Hyper-V ("win" 10.0) on Windows on 2024-01-01 at 00:00 UTC.

1 image: 1 accepted; 0 errors, 0 warnings, 0 notes
"""


def test_refused(main: Main, bad: Path) -> None:
    done = main("bad.vhd")
    assert done.stdout.startswith(REFUSED)
    assert "\n  note[VHD311] no-blocks\n" in done.stdout
    assert done.stdout.endswith(DESCRIPTION)
    assert done.stdout.isascii()


def test_accepted(main: Main, good: Path) -> None:
    assert main("good.vhd").stdout == ACCEPTED


def test_an_error_that_the_target_makes_says_so(main: Main, tmp_path: Path) -> None:
    fixed(3 * MIB, hidden=1).write(tmp_path / "x.vhd")
    raised, plain = main("x.vhd"), main("--target", "generic", "x.vhd")
    assert (raised.returncode, plain.returncode) == (1, 0)
    assert re.search(r"^  error\[VHD\d{3}\] hidden \(an error for rackspace\)$", raised.stdout, re.MULTILINE)
    assert re.search(r"^  warning\[VHD\d{3}\] hidden$", plain.stdout, re.MULTILINE)
    assert plain.stdout.startswith("x.vhd: accepted\n\n  warning[")


def test_errors_come_first(main: Main, tmp_path: Path) -> None:
    dynamic(41 * GIB, unique_id=bytes(16), hidden=1, saved_state=1).write(tmp_path / "x.vhd")
    done = main("--target", "generic", "--max-virtual-size", "1B", "x.vhd")
    words = re.findall(r"^  (error|warning|note)\[", done.stdout, re.MULTILINE)
    assert set(words) == {"error", "warning", "note"}
    assert words == sorted(words, key=["error", "warning", "note"].index)


@pytest.mark.parametrize("width", [1, *range(38, 124)])
def test_numbers_are_never_broken(main: Main, bad: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = main("bad.vhd").stdout
    assert [out.count(number) for number in ("44 023 414 784", "1 073 741 824", "42 949 672 960", "20 992")] == [
        *(2, 1, 1, 1)
    ]
    description = out[out.index("\n  A dynamic disk of") :].split("\n\n")[0].splitlines()[1:]
    assert max(map(len, description)) <= max(width, 42)
    assert " ".join(" ".join(description).split()) == " ".join(DESCRIPTION.partition("\n\n")[0].split())


NAMES = {
    "plain": "x.vhd",
    "spaces, quotes, a comma": 'it\'s "a", b $HOME `id` \\n.vhd',
    "a leading dash": "-n.vhd",
    "a line break and an escape": "a\nb\x1b[31m'\\.vhd",
    "no UTF-8": "\udcff\udc80.vhd",
    "another alphabet": "größe.vhd",
    "like a protocol": "nbd:x.vhd",
    "like a place for a name": "{in}{out}{in_option}{}.vhd",
    "the output's own": "out.vhd",
    "in a folder": "a b/-c.vhd",
}


def environment() -> dict[str, str]:
    """Return an environment in which `python` is this one, and finds vhdcheck."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def remedies(done: subprocess.CompletedProcess[str], command: str) -> list[str]:
    """Return the lines of a report that are this command."""
    return [
        line.strip() for line in done.stdout.splitlines() if re.match(rf" {{14}}{command} |    fix +{command} ", line)
    ]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_pasted_mending_is_accepted(main: Main, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    fixed(3 * MIB).append(b"abc").write(path)
    done = main("--", name)
    assert (done.returncode, done.stdout[-1], "\x1b" in done.stdout) == (1, "\n", False)
    (command,) = remedies(done, "python")
    subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(), check=True, timeout=20, capture_output=True
    )
    output = "mended.vhd" if name == "out.vhd" else "out.vhd"
    assert main(output).stdout.startswith(f"{output}: accepted\n")
    assert path.stat().st_size == 3 * MIB + 515, "the image itself is as it was"


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_pasted_rebuild_is_accepted(main: Main, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    # One disk to all readers: 68 * 4 * 17 sectors are the whole size.
    fixed(68 * 4 * 17 * 512 * 2, saved_state=2).write(path)
    done = main("--", name)
    assert "111: " in done.stdout.splitlines()[0]
    command = remedies(done, "qemu-img")[0]
    if name == "out.vhd":
        assert command.endswith(" mended.vhd")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=60, capture_output=True)
    output = command.split()[-1]
    assert main("--target", "generic", output).returncode == 0


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.parametrize("name", ["nbd:x.vhd", "-f.vhd", "it's, raw.vhd"])
def test_a_pasted_conversion_is_accepted(main: Main, tmp_path: Path, name: str) -> None:
    Image(68 * 4 * 17 * 512 * 2).put(510, b"\x55\xaa").write(tmp_path / name)
    done = main("--", name)
    assert "this is a raw disk with a boot sector (MBR), without a footer, not a VHD" in " ".join(done.stdout.split())
    (command,) = remedies(done, "qemu-img")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=60, capture_output=True)
    assert main("--target", "generic", "out.vhd").returncode == 0


def test_every_remedy_of_the_catalogue_names_the_file(main: Main) -> None:
    for number, rule in RULES.items():
        if "{in}" in rule.fix or "{in_option}" in rule.fix:
            text = main("--explain", number).stdout
            assert "in.vhd" in text
            assert "{" not in text.partition("\nfix ")[2], number


@pytest.mark.parametrize(
    ("names", "summary"),
    [
        (["good.vhd"], "1 image: 1 accepted; 0 errors, 0 warnings, 0 notes"),
        (["bad.vhd"], "1 image: 1 refused; 1 error, 0 warnings, 1 note"),
        (["none"], "1 image: 1 not checked; 0 errors, 0 warnings, 0 notes"),
        (["bad.vhd", "bad.vhd"], "2 images: 2 refused; 2 errors, 0 warnings, 2 notes"),
        (["none", "good.vhd", "bad.vhd", "good.vhd"], "4 images: 2 accepted, 1 refused, 1 not checked; 1 error, 0 war"),
    ],
)
def test_the_summary(main: Main, good: Path, bad: Path, names: list[str], summary: str) -> None:
    assert main(*names).stdout.splitlines()[-1].startswith(summary)


def test_one_byte_is_singular(main: Main, tmp_path: Path) -> None:
    fixed(3 * MIB).append(b"a").write(tmp_path / "x.vhd")
    assert "    at        0x300200 file, 1 byte\n" in main("x.vhd").stdout


def test_what_was_not_examined(main: Main, tmp_path: Path) -> None:
    image = dynamic(10 * MIB, blocks=[0])
    image.patch(512, bytes(1024)).write(tmp_path / "x.vhd")
    assert "\n  Not examined: the block allocation table" in main("x.vhd").stdout
