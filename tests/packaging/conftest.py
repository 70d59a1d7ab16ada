"""The wheel, as pip builds it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def build_wheel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Build the wheel of a folder as pip does; skip where the build backend cannot be had."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")

    def build(source: Path) -> Path:
        folder = tmp_path_factory.mktemp("wheel")
        words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode and "No matching distribution found for hatchling" in done.stderr:
            pytest.skip("the wheel's build backend, hatchling, cannot be downloaded")
        assert done.returncode == 0, done.stderr
        (built,) = folder.glob("*.whl")
        return built

    return build


@pytest.fixture(scope="session")
def wheel(root: Path, build_wheel: Callable[[Path], Path]) -> Path:
    """The wheel of this repository."""
    return build_wheel(root)
