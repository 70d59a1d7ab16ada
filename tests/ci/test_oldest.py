"""The oldest versions that pyproject.toml allows of what the package needs: the quick tests pass with them too."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests.helpers import finished

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def oldest(text: str) -> str:
    """Return the requirement of the oldest version that a requirement allows."""
    requirement = Requirement(text)
    (version,) = (each.version for each in requirement.specifier if each.operator == ">=")
    return f"{requirement.name}=={version}"


def test_the_oldest_versions(root: Path, tmp_path: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [oldest(text) for text in project["dependencies"]]
    assert [each.partition("==")[0] for each in wanted] == ["construct", "numpy", "tqdm"]
    finished([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], timeout=120)
    python = str(tmp_path / "env" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    done = subprocess.run([*pip, "--prefer-binary", *wanted], capture_output=True, text=True, check=False, timeout=200)
    if done.returncode and sys.version_info >= (3, 13):
        pytest.skip(f"{' and '.join(wanted)} cannot be installed for this Python")
    assert done.returncode == 0, done.stderr
    # What the tests need besides comes from here, behind what was just installed.
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    here = sysconfig.get_path("purelib")
    (packages / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    ask = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    asked = [Requirement(each) for each in wanted]
    there = finished([python, "-c", ask, *(each.name for each in asked)]).split()
    assert all(version in each.specifier for each, version in zip(asked, there, strict=True)), there
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    words = [python, "-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal", "-m", "quick"]
    printed = finished(words, timeout=800, cwd=root, env=env)
    assert " passed" in printed, printed
