"""--output: whole or not at all, never over an image; the summary goes on to standard error."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.durable import Disk
from vhdcheck import report
from vhdcheck.command.output import replacing
from vhdcheck.report import formats

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Start: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"


def test_every_format_can_be_chosen() -> None:
    modules = {module.name.replace("_", "-") for module in pkgutil.iter_modules(formats.__path__)}
    assert (report.names()[0], set(report.names())) == ("text", modules)
    for name in report.names():
        form = report.load(name)
        assert (type(form.WHOLE), type(form.SUMMARY), callable(form.write)) == (bool, bool, True)


@pytest.mark.parametrize("form", report.names())
def test_the_file_holds_what_standard_output_would(
    main: Main, good: Path, bad: Path, form: str, tmp_path: Path
) -> None:
    plain = main("good.vhd", "bad.vhd", "--format", form)
    (tmp_path / "report").write_text("an older report\n", encoding="ascii")
    done = main("good.vhd", "bad.vhd", "--format", form, "--output", "report")
    assert (done.returncode, done.stdout) == (1, "")
    assert (tmp_path / "report").read_text(encoding="utf-8") == plain.stdout
    assert done.stderr.endswith("2 images: 1 accepted, 1 refused; 1 error, 0 warnings, 1 note\n")
    assert main("good.vhd", "bad.vhd", "--format", form, "--output", "report").returncode == 1, "over a report"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.vhd", "good.vhd", "report"]


def test_never_over_an_image(main: Main, good: Path, bad: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (good, bad)}
    (tmp_path / "link").symlink_to("bad.vhd")
    (tmp_path / "disk").write_bytes(bad.read_bytes())
    (tmp_path / "disk of text").write_bytes(b"text\n" * 2000 + bad.read_bytes()[-512:])
    (tmp_path / "list").write_text("good.vhd\n", encoding="ascii")
    for output, line in (
        ("good.vhd", "that is the name of an image"),
        ("new.VHD", "that is the name of an image"),
        ("link", "that file is to be checked"),
        ("disk", "there is a file which is no text"),
        ("disk of text", "there is a file which is no text"),
        ("list", "that file is to be checked"),
    ):
        for form in ("text", "jsonl"):
            done = main("good.vhd", "bad.vhd", "list", "--format", form, "--output", output)
            assert (done.returncode, done.stdout) == (2, "")
            assert f"--output {output}: {line}" in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / "link").is_symlink()


def test_a_link_stays_and_a_device_is_written_to(main: Main, good: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    assert main("good.vhd", "--output", "link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="ascii").startswith("good.vhd: accepted\n")
    assert main("good.vhd", "--output", "/dev/null").returncode == 0


def test_its_bytes_are_on_the_disk_before_it_takes_another_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report").write_text("an older report\n", encoding="ascii")
    disk = Disk(tmp_path, monkeypatch)
    with replacing(tmp_path / "report") as file:
        file.write("a new one\n")
    assert [moment.call for moment in disk.moments][:2] == ["fsync", "replace"]
    for moment in (*disk.moments, disk.now()):
        assert moment.synced["report"] == moment.there["report"] in (b"an older report\n", b"a new one\n")


def test_where_nothing_can_be_written(main: Main, good: Path, tmp_path: Path) -> None:
    for form in ("json", "jsonl"):
        done = main("good.vhd", "--format", form, "--output", "none/report")
        assert (done.returncode, done.stderr) == (2, "vhdcheck: none/report: cannot write: No such file or directory\n")


def test_jsonl_goes_on_behind_what_it_resumes(main: Main, good: Path, bad: Path, tmp_path: Path) -> None:
    words = ("--format", "jsonl", "--output", "done.jsonl")
    assert main("good.vhd", *words).returncode == 0
    assert main("good.vhd", "bad.vhd", *words, "--resume", "done.jsonl").returncode == 1
    sources = [json.loads(line)["source"] for line in (tmp_path / "done.jsonl").read_text("ascii").splitlines()]
    assert sources == ["good.vhd", "bad.vhd"]


def test_an_interrupted_run_leaves_what_was_there(start: Start, good: Path, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("an older report\n", encoding="ascii")
    os.mkfifo(tmp_path / "names")
    heeds = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}  # whoever runs the tests
    with (
        start("--files-from", "names", "--output", "report", cwd=tmp_path, stderr=-1, **heeds) as process,
        (tmp_path / "names").open("wb", buffering=0) as names,
    ):
        names.write(b"good.vhd\n")
        while not any(path.name.endswith(".part") and path.stat().st_size for path in tmp_path.iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert (tmp_path / "report").read_text(encoding="ascii") == "an older report\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
