"""`vhdcheck.engine.executors.Processes`: workers die, and it goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vhdcheck import Failure, audit
from vhdcheck.engine.executors import Processes

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_worker_costs_nothing(images: Callable[[int], list[str]]) -> None:
    paths = images(600)
    with Processes(2) as executor:
        results = []
        for result in audit(paths, executor=executor, batch=4, window=20):
            results.append(result)
            if len(results) in {20, 300}:
                os.kill(executor.submit(os.getpid).result(), signal.SIGKILL)
    assert not [result for result in results if isinstance(result, Failure)]
    assert sorted(result.source for result in results) == paths


def test_an_image_that_kills_its_worker_costs_one_line(
    run: Callable[..., subprocess.CompletedProcess[str]],
    images: Callable[[int], list[str]],
    tmp_path: Path,
    poisoned: None,
) -> None:
    for number, path in enumerate(images(200)):
        name = "poison" if number in {50, 51, 180} else "image"
        shutil.copy(path, tmp_path / f"{name}{number:03}.vhd")
    done = run("--jobs", "2", *sorted(path.name for path in tmp_path.glob("*.vhd")))
    assert (done.returncode, done.stderr) == (2, "")
    lines = [line for line in done.stdout.splitlines() if ".vhd: " in line]
    assert len(lines) == 200
    failures = sorted(line for line in lines if ": not checked: " in line)
    assert [line.partition(":")[0] for line in failures] == ["poison050.vhd", "poison051.vhd", "poison180.vhd"]
    assert all(": not checked: the worker that checked it failed: BrokenProcessPool" in line for line in failures)
    assert done.stdout.splitlines()[-1].startswith("200 images: 132 accepted, 65 refused, 3 not checked; ")


def test_processes_that_cannot_start_end_the_run(tmp_path: Path) -> None:
    """A script that starts itself again in each of its workers, for want of `if __name__ == "__main__"`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import threading\nfrom vhdcheck import audit\nfrom vhdcheck.engine.executors import Processes\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()  # so they are not forked\n"
        "print(list(audit(['x'] * 1000, executor=Processes(2), batch=1)))\n",
        encoding="ascii",
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "\nvhdcheck.errors.SourceError: worker processes do not start\n" in done.stderr
