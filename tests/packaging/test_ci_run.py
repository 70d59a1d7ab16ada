"""What is told where something fails: each step of `.ci/run`, and what a helper of a test wrote."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.helpers import LOGS, begun, ended, finished, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="CI runs on Linux")

STEPS = r"""
step "good" printf 'SKIPPED [2] tests/x.py:3: no cc\n== 3 passed, 2 skipped, 1 warning in 100.20s (0:01:40) ==\n'
broken() { echo said; false; echo "not reached"; }
export -f broken
step "bad/broken" broken
slowest=0.5s
step "hangs" sleep 60
step "tests" bash -c 'echo "SKIPPED [1] tests/y.py:9: no cc"; echo "1 failed, 4 passed, 1 skipped in 1.30s"; exit 1'
step "last" true
"""


def test_every_step_runs_and_is_summed_up(root: Path, tmp_path: Path) -> None:
    script = (root / ".ci" / "run").read_text(encoding="utf-8")
    assert len(re.findall(r"^step ", script, re.MULTILINE)) > 10
    first, last = script.index("\nstep "), script.index("\nprintf '\\n== steps")
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(script[:first] + STEPS + script[last:], encoding="utf-8")
    (tmp_path / ".ci" / "totals.py").write_bytes((root / ".ci" / "totals.py").read_bytes())
    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert "not reached" not in lines
    steps = lines[lines.index("== steps") + 1 : lines.index("== skipped")]
    assert [re.sub(r"^ *\d+ s  ", "", line).split(maxsplit=1) for line in steps if line] == [
        ["good", "passed"],
        ["bad/broken", "FAILED, status 1"],
        ["hangs", "FAILED, stopped after 0.5s"],
        ["tests", "FAILED, status 1"],
        ["last", "passed"],
        ["all"],
    ]
    assert lines[lines.index("== skipped") + 1 : -2] == ["good:", "     2 no cc", "tests:", "     1 no cc"]
    assert lines[-1] == "===== 1 failed, 7 passed, 3 skipped, 1 warnings in 101.50s ====="


def test_every_folder_of_tests_is_run(root: Path) -> None:
    """By the README's command and that for slow tests, which go by pyproject.toml; or by a step of its own."""
    script = (root / ".ci" / "run").read_text(encoding="utf-8")
    listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert readme.count(" -m 'not slow'\n") == script.count(" -m slow\n") == 1
    others = set(re.findall(r"pytest .*(tests/(?!chains)\w+)$", script, re.MULTILINE))
    folders = {f"tests/{path.parent.name}" for path in root.glob("tests/*/test_*.py")}
    assert (others | {*listed["testpaths"]}, others & {*listed["testpaths"]}) == (folders, set())
    assert all(f"`{folder}`" in readme for folder in others)


def test_a_program_that_fails_is_quoted() -> None:
    assert finished([sys.executable, "-c", "print('well')"]) == "well\n"
    with pytest.raises(AssertionError, match="ended with status 3, and wrote:\nthe reason"):
        finished([sys.executable, "-c", "import sys; print('the reason', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(AssertionError, match="does not end in 1 s, and wrote:\nso far"):
        finished(["sh", "-c", "echo so far; exec sleep 60"], timeout=1)


@pytest.mark.parametrize(
    ("then", "what"), [("exit 4", "ended with status 4"), ("exec sleep 60", "is not ready in 1 s")]
)
def test_a_server_that_does_not_start_is_quoted(tmp_path: Path, then: str, what: str) -> None:
    log = tmp_path / "log"
    server = begun(["sh", "-c", f"echo the reason; {then}"], log)
    try:
        with pytest.raises(AssertionError, match=f"{what}, and wrote:\nthe reason"):
            until(lambda: None, server, log, patience=1)
    finally:
        ended(server, log)
    assert log not in LOGS


FAILING = """
import subprocess
from pathlib import Path
from tests.helpers import begun, until

def test_with_a_server(tmp_path):
    log = tmp_path / "log"
    until(lambda: "up" in log.read_text() or None, begun(["sh", "-c", "echo is up; exec sleep 9"], log), log)
    assert not "the server is asked"

def test_with_a_program():
    subprocess.run(["sh", "-c", "echo not my day >&2; exit 1"], check=True, capture_output=True)
"""


def test_what_helpers_wrote_stands_beside_a_failure(root: Path, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "test_failing.py"]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "2 failed" in done.stdout
    assert re.search(r"^-+ log of sh -c echo is up.* -+\nis up$", done.stdout, re.MULTILINE)
    assert re.search(r"^-+ error output of .* -+\nnot my day$", done.stdout, re.MULTILINE)
