"""What the library returns and raises is pleasant to have: words, plain values, and ways between processes."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import pickle
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

import vhdcheck
from fixtures.recipes import NOW
from fixtures.writer import GIB, MIB, dynamic, fixed
from vhdcheck import Failure, ImageRefused, Severity, StreamChecker, UsageError, aexamine, audit, check, examine
from vhdcheck.engine.options import CheckOptions, JudgeOptions
from vhdcheck.mend import with_repair
from vhdcheck.sources import source as protocols

if TYPE_CHECKING:
    from pathlib import Path

BAD = dynamic(41 * GIB).tobytes()


def refuse(data: bytes) -> bytes:
    """What runs in another process."""
    return StreamChecker().wrap(io.BytesIO(data), raise_early=True).read()


def test_a_refusal_comes_back_from_another_process() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(ImageRefused, match="413") as caught,
    ):
        pool.submit(refuse, BAD).result(60)
    assert caught.value.report.code == 413
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (its own)
    assert (str(again), again.report) == (str(caught.value), caught.value.report)


def test_words() -> None:
    assert str(check(BAD, name="a.vhd")) == "a.vhd: refused: 413: VHD701 virtual-size-over-limit"
    assert str(check(fixed(3 * MIB).tobytes(), now=NOW)) == "<bytes>: accepted"
    warned = check(fixed(3 * MIB, saved_state=1).tobytes(), target="generic", now=NOW)
    assert str(warned) == "<bytes>: accepted: with warnings: VHD120 saved-state"
    assert str(check(BAD, name="\x1b[2J\n.vhd")).isprintable()
    assert str(Failure("b\n.vhd", "no such file")) == "b\\n.vhd: not checked: no such file"
    for severity, word in ((Severity.NOTE, "note"), (Severity.WARNING, "warning"), (Severity.ERROR, "error")):
        assert (str(severity), f"{severity}", f"{severity:>8}", "%s" % severity) == (word, word, f"{word:>8}", word)  # noqa: UP031


def test_plain_values(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from vhdcheck.command.cli import main

    path = str(dynamic(41 * GIB).write(tmp_path / "bad.vhd"))
    main(["--no-config", "--format", "json", path, f"{path}.none"])
    entries = json.loads(capsys.readouterr().out)["reports"]
    (report, failure) = audit([path, f"{path}.none"], finish=with_repair)
    assert [report.to_dict(), failure.to_dict()] == entries
    assert (report.ok, failure.ok) == (False, False)


def test_one_path_is_not_many() -> None:
    for wrong in ("x.vhd", b"x.vhd"):
        with pytest.raises(UsageError, match=r"give \[b?'x.vhd'\], or use check"):
            audit(wrong)  # type: ignore[arg-type]


def test_nothing_is_fed_behind_the_end() -> None:
    checker = StreamChecker()
    checker.feed(BAD)
    report = checker.finish()
    with pytest.raises(UsageError, match="finish was called"):
        checker.feed(b"x")
    assert checker.feed(b"") == []
    assert checker.finish() is report


def test_misspelt_options() -> None:
    misspelt: dict[str, Any] = {"deap": True}
    for call in (
        lambda: check(BAD, **misspelt),
        lambda: vhdcheck.iter_findings(BAD, **misspelt),
        lambda: audit([], **misspelt),
        lambda: StreamChecker(**misspelt),
        lambda: asyncio.run(vhdcheck.acheck(BAD, **misspelt)),
    ):
        with pytest.raises(TypeError, match="deap"):
            call()


def test_the_options_are_explained_once() -> None:
    for kind in (JudgeOptions, CheckOptions):
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(tree, ast.ClassDef)
        fields = [each for each in tree.body if isinstance(each, ast.AnnAssign)]
        texts = [each for each in tree.body[1:] if isinstance(each, ast.Expr)]
        assert fields
        assert len(texts) == len(fields)


def test_a_driver_of_ones_own() -> None:
    """The example in the docstring of the protocols is run as it stands, and as an asynchronous one."""
    example = textwrap.dedent("    from" + (protocols.__doc__ or "").partition("    from")[2].partition("\n\nWith")[0])
    data = dynamic(10 * MIB, blocks=[2, 0]).tobytes()
    pieces = [data[at : at + MIB] for at in range(0, len(data), MIB)]
    names: dict[str, Any] = {"pieces": pieces}
    exec(example, names)  # noqa: S102
    report = names["report"]
    assert (report.source, report.size, report.target.name) == ("disk 7", len(data), "azure")
    assert report.findings == check(data, target="azure").findings

    class Later:
        def __init__(self) -> None:
            self.inner = names["Pieces"]("disk 8", pieces)
            self.name, self.size = self.inner.name, self.inner.size

        async def read(self, spans: Any) -> Any:
            return self.inner.read(spans)

        async def verify(self) -> None:
            self.inner.verify()

    other = asyncio.run(aexamine(Later(), "azure", now=NOW))
    same = examine(names["Pieces"]("x", pieces), "azure", now=NOW)
    assert (other.source, other.findings) == ("disk 8", same.findings)
