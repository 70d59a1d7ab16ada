"""Every form of the report says the same whoever checked the images: this process, or workers that wrote their part."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.test_command import is_gone, reports
from vhdcheck import report
from vhdcheck.command.cli import main
from vhdcheck.report.entries import INDENT, entry, filled
from vhdcheck.report.formats import jsonl

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from vhdcheck import Failure, Report
    from vhdcheck.report.context import Context

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Start: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"
ROOT = Path(__file__).resolve().parents[2]
FORMS = report.names()
PICKY = ("--ignore", "VHD7,no-blocks,footer-checksum", "--fail-on", "warning", "--quiet")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of all kinds, more than a batch of them; texts among them; and a folder that has only texts."""
    folder = tmp_path_factory.mktemp("crowd")
    found = sorted((ROOT / "fixtures").glob("*.vhd"))
    for image in found[:: len(found) // 75]:
        shutil.copy(image, folder)
    (folder / "texts").mkdir()
    for place in (folder, folder / "texts"):
        (place / "adder.vhd").write_text("entity adder is\nend adder;\n" * 300, encoding="ascii")
    (folder / 'a "name": [] <&>%\n.vhd').write_bytes(b"\0" * 600)
    assert 65 < len(list(folder.glob("*.vhd"))) < 100, "more than a batch, and no more than a page draws"
    return folder


def said(form: str, text: str) -> Any:
    """Say what a report says, whatever its order."""
    text = re.sub(r"at most [-:0-9 ]* UTC", "at most now", text)
    if form in {"json", "sarif", "sarif-github"}:
        document = json.loads(text)
        entries = document["reports"] if form == "json" else document["runs"][0]["results"]
        entries.sort(key=json.dumps)
        if form != "json":
            document["runs"][0]["invocations"][0]["toolExecutionNotifications"].sort(key=json.dumps)
        return document
    if form == "junit":
        root = ET.fromstring(text)  # noqa: S314 (our own)
        return root.attrib, sorted(ET.tostring(suite) for suite in root)
    if form == "text":
        text = re.sub(r"(?m)^(  \d+: \d+ images?)\b.*", r"\1", text)  # named are the first that were done
    if form == "html":
        text = re.sub(r'(id="|href="#|url\(#|for="|aria-labelledby="|-?\b)i\d+', r"\1i", text)
    return Counter(text.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "words"),
    [
        *((form, ()) for form in FORMS),
        *((form, PICKY) for form in FORMS),
        *((form, ("--map", "--target", "azure", "--skip-text")) for form in ("text", "json", "jsonl")),
    ],
)
def test_a_form_is_the_same_with_jobs(run: Run, crowd: Path, form: str, words: tuple[str, ...]) -> None:
    places = (crowd, crowd / "texts", crowd / "texts" / "adder.vhd", "none.vhd", crowd / "nowhere")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "77"}
    one, two = (run(*places, "--format", form, *words, *jobs, env=environment) for jobs in ((), ("--jobs", "3")))
    assert said(form, one.stdout) == said(form, two.stdout)
    assert said("text", one.stderr) == said("text", two.stderr)
    assert one.returncode == two.returncode == 2, "some are not there"
    assert one.stdout


@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_chains_are_the_same_with_jobs(run: Run, form: str) -> None:
    words = (ROOT / "fixtures", "--chains", "--format", form)
    one, two = (run(*words, *jobs) for jobs in ((), ("--jobs", "2")))
    assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)
    assert "child" in one.stdout


@pytest.mark.parametrize("form", ["text", "json", "jsonl"])
def test_parents_are_found_for_what_workers_checked(run: Run, form: str) -> None:
    folder = ROOT / "fixtures"
    words = (folder, "--parents", folder, "--target", "generic", "--format", form)
    one, two = (run(*words, *jobs) for jobs in ((), ("--jobs", "2")))
    assert said(form, one.stdout) == said(form, two.stdout)
    assert one.returncode == two.returncode
    assert re.search(r"VHD53\d|VHD54\d", one.stdout), "chains were judged"


@pytest.mark.parametrize("form", ["json", "junit", "sarif", "github", "line"])
def test_an_image_that_kills_its_worker_is_not_checked(
    run: Run, images: Callable[[int], list[str]], tmp_path: Path, poisoned: None, form: str
) -> None:
    """And the parent lives: it opens no image."""
    (tmp_path / "d").mkdir()
    for number, path in enumerate(images(70)):
        shutil.copy(path, tmp_path / "d" / f"{'poison' if number == 40 else 'image'}{number:02}.vhd")
    done = run("d", "--jobs", "2", "--format", form)
    assert done.returncode == 2
    assert done.stdout.count("BrokenProcessPool") == 1
    assert "poison40.vhd" in done.stdout
    assert "1 not checked" in done.stdout + done.stderr or '"not_checked": 1' in done.stdout


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_that_was_killed_goes_on(
    start: Start, run: Run, images: Callable[[int], list[str]], *, jobs: str, end: signal.Signals, tmp_path: Path
) -> None:
    """What was written is done, and nothing of it is torn but the last line."""
    folder = Path(images(3000)[0]).parent
    paths = sorted(map(str, folder.glob("*.vhd")))  # another test may have made more
    words = ("--jobs", jobs, "--format", "jsonl", "--output", "done.jsonl", folder)
    done = tmp_path / "done.jsonl"
    with start(*words) as process:
        while not done.exists() or done.read_bytes().count(b"\n") < 300:
            assert process.poll() is None
        process.send_signal(end)
    assert process.returncode == -end
    assert is_gone(process.pid), "workers end with what started them"
    first = done.read_text().splitlines(keepends=True)
    whole = [line for line in first if line.endswith("\n")]
    assert 300 <= len(whole) < len(paths)
    assert len(first) - len(whole) <= 1
    again = run(*words, "--resume", "done.jsonl")
    assert again.returncode == 1
    lines = [line for line in done.read_text().splitlines() if line.endswith("}")]
    assert sorted(reports("\n".join(lines))) == paths
    assert again.stderr.endswith(f"{len(whole):,} done before\n".replace(",", " "))


def test_a_defect_in_writing_costs_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Callable[[int], list[str]]
) -> None:
    sound = jsonl.part

    def broken(result: Report | Failure, context: Context) -> str:
        if result.source.endswith("1.vhd") and hasattr(result, "findings"):
            raise ZeroDivisionError("by\nzero")
        return sound(result, context)

    monkeypatch.setattr(jsonl, "part", broken)
    assert main([*images(3), "--format", "jsonl"]) == 2
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["verdict"] for line in told] == ["accepted", "not checked", "refused"]
    assert told[1]["reason"] == "vhdcheck failed: ZeroDivisionError: by zero"


VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(['"a": []', '"b": []', '\n"a": []', "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("cdé\n", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4), VALUES)
def test_a_document_is_written_as_if_at_once(first: list[Any], second: list[Any], other: Any) -> None:
    def document(a: list[Any], b: list[Any]) -> str:
        return json.dumps({"x": other, "runs": [{"in": [{"a": a, "y": other}], "b": b}], "z": other}, indent=INDENT)

    parts = filled(document([], []), a=[entry(each, 6) for each in first], b=[entry(each, 4) for each in second])
    assert "".join(parts) == document(first, second)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not forked")
def test_workers_are_forked_before_anything_else_runs(start: Start, images: Callable[[int], list[str]]) -> None:
    """Started anew, they would load everything again: half a second of processor time for two."""
    with start("--jobs", "2", "--format", "jsonl", Path(images(3000)[0]).parent) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # and no more: it waits until somebody reads the rest
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        parent = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert [Path(f"/proc/{child}/cmdline").read_bytes() for child in children] == [parent, parent]
        process.stdout.read()
    assert process.returncode == 1
