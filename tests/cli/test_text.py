"""The report for people: its order, its numbers, its words, and remedies that work when they are pasted."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

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

  To mend it, run:
    {command}
  This writes a copy that rackspace accepts, with the same guest data:
    - rebuild: write the disk into a new image
    - shrink the disk from 41 GiB (44 023 414 784 bytes) to 40 GiB (42 949 672 960 bytes)
  The copy is a dynamic disk of 40 GiB (42 949 672 960 bytes), in a file of 82 KiB (83 968 bytes).
  It checks first, and writes nothing unless:
    - sectors that a block's bitmap marks as empty hold only zeros
    - every partition ends before 40 GiB (42 949 672 960 bytes), and nothing but zeros and a GPT's
      backup, which moves, lies behind it

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
    command = f"{sys.executable} -m vhdcheck.mend bad.vhd -o bad-mended.vhd"
    assert done.stdout.endswith(DESCRIPTION.format(command=command))
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
        *(3, 1, 4, 1)
    ]
    description = out[out.index("\n  A dynamic disk of") :].split("\n\n")[0].splitlines()[1:]
    assert max(map(len, description)) <= max(width, 42)
    assert " ".join(" ".join(description).split()) == " ".join(DESCRIPTION.partition("\n\n")[0].split())


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
