"""--format github: each line one command, whatever an image says; the worst first, the summary last."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import MIB, fixed
from tests.forms import written
from vhdcheck import check
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
COMMAND = re.compile(r"::(error|warning|notice) ((?:\w+=[^,:]*)(?:,\w+=[^,:]*)*)::(.*)")


def read(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Read commands as the runner does: a line each, its properties apart by commas, three or five escapes."""
    commands = []
    for line in text.splitlines():
        found = COMMAND.fullmatch(line)
        assert found, line
        properties = dict(pair.split("=", 1) for pair in found[2].split(","))
        commands.append((found[1], {key: unquote(value) for key, value in properties.items()}, unquote(found[3])))
    return commands


def test_worst_first_and_the_summary_last(main: Main, good: Path, bad: Path) -> None:
    done = main("good.vhd", str(bad), "none.vhd", "--format", "github")
    first, second, third, last = read(done.stdout)
    assert first == ("error", {"file": "none.vhd", "title": "not checked"}, "No such file or directory")
    assert second[:2] == ("error", {"file": "bad.vhd", "title": "VHD701 virtual-size-over-limit"})
    assert "\nexpected: at most 40 GiB (42 949 672 960 bytes)\nfound: 41 GiB" in second[2]
    assert third[:2] == ("notice", {"file": "bad.vhd", "title": "VHD311 no-blocks"})
    census = "3 images: 1 accepted, 1 refused, 1 not checked; 1 error, 0 warnings, 1 note"
    assert last == ("notice", {"title": "vhdcheck"}, census)


@given(
    name=st.text(min_size=1) | st.sampled_from(["a,title=x::", "%0A::stop-commands::x", "\n::error::x", "a%2Cb:c"]),
    creator=st.binary(min_size=4, max_size=4) | st.sampled_from([b"\n::x", b"%0A:"]),
)
def test_nothing_gets_out_of_its_place(name: str, creator: bytes) -> None:
    name = "x" + os.fsdecode(name.encode("utf-8", "surrogatepass"))
    report = check(fixed(3 * MIB, creator=creator, saved_state=1).tobytes(), name=name)
    commands = read(written("github", [report, Failure(name, name)], report.target))
    assert len(commands) == len(report.findings) + 2
    assert {frozenset(properties) for _, properties, _ in commands[:-1]} == {frozenset({"file", "title"})}
