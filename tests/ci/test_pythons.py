"""The built wheel installs and works on every Python that it is for and that is on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

import vhdcheck
from tests.helpers import finished

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OLDEST = 11
IMAGES = ["fixtures/dynamic-clean.vhd", "fixtures/qemu/dynamic-40g.vhd", "fixtures/fixed-exact.vhd"]
ASK = "import ensurepip, sys, venv; print(sys.version_info.major, sys.version_info.minor, sys.base_prefix)"


def asked(*words: str) -> str:
    """Return what a command prints; nothing where it does not exist or fails."""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    return ""


def interpreters() -> dict[str, str]:
    """Find one interpreter of each version from 3.11 on: on PATH, and those that pyenv and uv installed."""
    found = [shutil.which(f"python3.{minor}") for minor in range(OLDEST, 30)]
    versions = Path(asked("pyenv", "root").strip() or os.devnull, "versions")
    found += map(str, versions.glob("3.*/bin/python3"))
    with suppress(ValueError):
        listed = json.loads(asked("uv", "python", "list", "--only-installed", "--offline", "--output-format", "json"))
        found += [each["path"] for each in listed]
    by_version: dict[str, str] = {}
    for path in filter(None, found):
        answer = asked(path, "-c", ASK).split(maxsplit=2)
        if len(answer) == 3 and (int(answer[0]), int(answer[1])) >= (3, OLDEST):
            by_version.setdefault(f"{answer[0]}.{answer[1]}", path)
    return dict(sorted(by_version.items()))


INTERPRETERS = interpreters()


@pytest.mark.parametrize("version", INTERPRETERS)
def test_the_wheel_works(wheels: Path, tmp_path: Path, version: str) -> None:
    (wheel,) = wheels.glob("vhdcheck-*.whl")
    finished([INTERPRETERS[version], "-m", "venv", "--without-pip", tmp_path / "env"], timeout=120)
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--quiet", "--no-compile"]
    pip += ["--only-binary", ":all:", str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=280)
    if done.returncode and "No matching distribution found for numpy" in done.stderr:
        pytest.skip(f"there is no wheel of numpy for Python {version} here")
    assert done.returncode == 0, done.stderr
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COLUMNS"))}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(scripts / "vhdcheck"), *words]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)

    assert run("--version").stdout == f"vhdcheck {vhdcheck.__version__}\n"
    checked = run("--format", "json", "--deep", *IMAGES)
    assert (checked.returncode, checked.stderr) == (1, "")
    verdicts = [report["verdict"] for report in json.loads(checked.stdout)["reports"]]
    assert verdicts == ["accepted", "refused", "accepted"]
    assert run("--explain", "VHD103").stdout.startswith("VHD103 footer-checksum\n")


def test_the_oldest_is_the_one_that_is_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">=3.{OLDEST}"
    assert INTERPRETERS
