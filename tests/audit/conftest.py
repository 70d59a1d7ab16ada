"""Executors of every temper, many images at little cost, and the command in a process of its own."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed
from tests.cli.conftest import main

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]  # a fixture

ROOT = Path(__file__).resolve().parents[2]
OF_PROCESSES = {"--jobs", "--executor"}
DYING = """\
import os

really_open = os.open

def dying(path, *words, **options):
    if "poison" in os.path.basename(os.fsdecode(path)):
        os._exit(1)
    return really_open(path, *words, **options)

os.open = dying
"""
"""A `sitecustomize` for workers: who opens an image with "poison" in its name dies."""


class Eager(Executor):
    """Does its work when it is submitted, on pickled copies; `failing` says which batches fail, and with what."""

    def __init__(self, failing: Callable[[tuple[str, ...]], BaseException | None] = lambda _: None) -> None:
        self.failing = failing
        self.batches: list[tuple[str, ...]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert (len(args), kwargs) == (1, {}), "one positional argument"
        function, work = pickle.loads(pickle.dumps((fn, args[0])))  # noqa: S301 (its own)
        self.batches.append(work[0])
        future: Future[Any] = Future()
        if (error := self.failing(work[0])) is not None:
            future.set_exception(error)
        else:
            future.set_result(pickle.loads(pickle.dumps(function(work))))  # noqa: S301 (its own)
        return future


class Late(Eager):
    """Answers in a random order, each after up to 20 milliseconds."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done, answer = super().submit(fn, *args, **kwargs), Future[Any]()

        def settle() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            error = done.exception()
            if error is None:
                answer.set_result(done.result())
            else:
                answer.set_exception(error)

        threading.Timer(random.random() / 50, settle).start()
        return answer


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[str]]:
    """Make so many images: by thirds a fixed one and a dynamic one that are accepted, and one that is refused."""
    folder = tmp_path_factory.mktemp("images")
    kinds = [fixed(64 << 10), dynamic(10 * MIB, blocks=[1, 0]), dynamic(41 * GIB)]
    originals = [kind.write(folder / f"{number}.img") for number, kind in enumerate(kinds)]

    def make(count: int) -> list[str]:
        paths = [folder / f"{number:06}.vhd" for number in range(count)]
        for number, path in enumerate(paths):
            if not path.exists():
                os.link(originals[number % 3], path)
        return [*map(str, paths)]

    return make


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every new interpreter die when it opens an image with "poison" in its name."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DYING, encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{ROOT}")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the command in `tmp_path` and a process group of its own, where an interrupt is not ignored."""

    def to_start(*words: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        given["env"] = {"PYTHONPATH": str(ROOT), **os.environ, "TERM": "xterm"}
        return subprocess.Popen(
            [sys.executable, "-m", "vhdcheck", *words],
            cwd=tmp_path,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 (no threads)
            **{**given, **options},
        )

    return to_start


@pytest.fixture
def run(
    start: Callable[..., subprocess.Popen[bytes]], main: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end: in this process, unless it starts others, or has streams or a place of its own."""

    def to_end(*words: str | Path, data: bytes | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        if data is None and not options and OF_PROCESSES.isdisjoint(words):
            return main(*words)
        given = {} if data is None else {"stdin": subprocess.PIPE}
        with start(*words, **given, **options) as process:
            try:
                out, err = process.communicate(data, timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        texts = ((part or b"").decode("utf-8", "surrogateescape") for part in (out, err))
        return subprocess.CompletedProcess(process.args, process.returncode, *texts)

    return to_end
