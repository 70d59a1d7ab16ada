"""A real dask cluster: a scheduler and two workers, one of which is killed during the run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed
from tests.helpers import LOGS, begun, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None, reason="distributed is not installed (extra dask)"
    ),
]
ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """A scheduler and two workers, as processes of their own; each logs into a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self.told("scheduler", r"Scheduler at: +tcp://(\S+)")
        for name in ("one", "two"):
            worker = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--name", name)
            self.start(name, "worker", f"tcp://{self.address}", *worker)
        for name in ("one", "two"):
            self.told(name, r"(Registered to)")

    def start(self, name: str, kind: str, *words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_LOGGING__DISTRIBUTED": "info"}
        command = [sys.executable, "-m", "distributed.cli.dask_" + kind, *words]
        self.processes[name] = begun(command, self.folder / f"{name}.log", cwd=self.folder, env=environment)

    def told(self, name: str, pattern: str) -> str:
        """Wait until a process has logged something, and return it."""
        log = self.folder / f"{name}.log"
        return until(lambda: re.search(pattern, log.read_text()), self.processes[name], log)[1]

    def close(self) -> None:
        for name, process in self.processes.items():
            process.kill()
            process.wait()
            LOGS.pop(self.folder / f"{name}.log", None)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.close()


def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    start: Callable[..., subprocess.Popen[bytes]], images: Callable[[int], list[str]], cluster: Cluster
) -> None:
    paths = images(6000)
    folder = str(Path(paths[0]).parent)
    (cluster.folder / "list").write_text("\n".join(paths), encoding="utf-8")
    words = ("--executor", f"dask://{cluster.address}", "--format", "jsonl", "--files-from", cluster.folder / "list")
    with start(*words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(100)]
        cluster.processes["one"].send_signal(signal.SIGKILL)
        cluster.processes["one"].wait()
        lines += process.stdout.readlines()
        errors = process.stderr.read().decode()
    results = [json.loads(line) for line in lines]
    assert sorted(result["source"] for result in results) == paths
    assert {result["verdict"] for result in results} == {"accepted", "refused"}
    assert process.returncode == 1, errors
    assert errors.splitlines()[-1].startswith("6 000 images: 4 000 accepted, 2 000 refused;")
    assert folder in errors
    assert "Traceback" not in errors


def test_an_interrupt(
    start: Callable[..., subprocess.Popen[bytes]], images: Callable[[int], list[str]], cluster: Cluster
) -> None:
    folder = Path(images(6000)[0]).parent
    with start("--executor", f"dask://{cluster.address}", "--format", "jsonl", folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        lines = [first, *process.stdout.readlines()]
        errors = process.stderr.read().decode()
    assert process.returncode == 130
    assert errors.endswith("vhdcheck: interrupted\n")
    assert "Traceback" not in errors
    assert all(json.loads(line) for line in lines)


def test_a_scheduler_that_is_not_there(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    done = run("--executor", "dask://127.0.0.1:9", "x.vhd", env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vhdcheck: dask://127.0.0.1:9: cannot reach the scheduler: ")
    assert done.stderr.count("\n") == 1


def test_the_commands_of_the_readme(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, cluster: Cluster
) -> None:
    """The cluster's own are looked up: it runs already, on free ports."""
    text = (ROOT / "vhdcheck" / "engine" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^<!-- test: dask -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].split() for line in block.splitlines()]
    assert [line[:2] for line in lines[:3]] == [["pip", "install"], ["dask", "scheduler"], ["dask", "worker"]]
    for kind in ("scheduler", "worker"):
        dask = Path(sys.executable).parent / "dask"
        assert subprocess.run([dask, kind, "--help"], capture_output=True, check=False).returncode == 0
    (tmp_path / "store").mkdir()
    good = fixed(4 * MIB).write(tmp_path / "store" / "good.vhd")
    bad = dynamic(41 * GIB).write(tmp_path / "store" / "bad.vhd")
    assert (lines[3][0], lines[3][-2:]) == ("vhdcheck", [">", "done.jsonl"])
    words = [{"dask://HOST:8786": f"dask://{cluster.address}"}.get(w, w) for w in lines[3][1:-2]]
    done = run(*words)
    results = {json.loads(line)["source"]: json.loads(line)["verdict"] for line in done.stdout.splitlines()}
    assert results == {str(good): "accepted", str(bad): "refused"}
    assert done.returncode == 1
