"""The command in a process, and an environment of its own with vhdcheck, as a pipeline sets one up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed
from tests.helpers import finished

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
"""Where the project lives, which pyproject.toml alone says."""
Done: TypeAlias = "subprocess.CompletedProcess[str]"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a folder `images`: one that is accepted, one that is refused, and VHDL source."""
    folder = tmp_path / "images"
    folder.mkdir()
    fixed(20 * MIB).write(folder / "good.vhd")
    dynamic(41 * GIB).write(folder / "bad.vhd")
    (folder / "adder.vhd").write_text("entity adder is\nend;\n", encoding="ascii")
    return tmp_path


@pytest.fixture
def run(tmp_path: Path, root: Path) -> Callable[..., Done]:
    """Run the command in `tmp_path`."""

    def to_end(*arguments: str) -> Done:
        words = [sys.executable, "-m", "vhdcheck", *arguments]
        env = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)

    return to_end


@pytest.fixture(scope="session")
def sources(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone of the repository has, so that nothing is installed from the working copy by mistake."""
    folder = tmp_path_factory.mktemp("clone") / "vhdcheck"
    ignored = shutil.ignore_patterns("__pycache__", "*.vhd", ".*cache")
    for name in (".ci", ".github", "vhdcheck"):
        shutil.copytree(root / name, folder / name, ignore=ignored)
    for name in (".pre-commit-hooks.yaml", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(root / name, folder)
    return folder


@pytest.fixture(scope="session")
def wheels(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where pip finds vhdcheck."""
    folder = tmp_path_factory.mktemp("wheels")
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(sources)]
    finished(words, timeout=300)
    return folder


@pytest.fixture(scope="session")
def recipes(root: Path) -> dict[str, str]:
    """The recipes of .github/CI.md, by the names of their files."""
    text = (root / ".github" / "CI.md").read_text("utf-8")
    return dict(re.findall(r"^<!-- try: (\S+) -->\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
