"""What the tests share: the repository's root, the sibling folder `../shared`, tools, and hypothesis profiles."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.helpers import LOGS, as_text, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

# A check takes milliseconds, but the first one imports numpy: no deadline. In CI the same examples every time, and in a
# step of its own many.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=25,
    derandomize=os.environ.get("CI", "").lower() == "true",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("ci", parent=settings.get_profile("default"), max_examples=300)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=3000, derandomize=False)
# For tests/mutation, where a failure need not be small, but soon.
settings.register_profile(
    "mutation",
    parent=settings.get_profile("default"),
    max_examples=100,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


QUICK = {"fuzz", "property", "rules", "streams", "unit"}
"""Folders of tests that work in this process, and so make up what `-m quick` runs."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what `-m quick` leaves out."""
    is_left_out = collection_path.parent == ROOT / "tests" and collection_path.name not in QUICK
    return True if config.option.markexpr == "quick" and is_left_out else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tests."""
    for item in items:
        if item.path.parent.name in QUICK and item.get_closest_marker("slow") is None:
            item.add_marker("quick")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a test that failed what a program wrote that failed it, and the servers that were running."""
    report = yield
    if report.failed:
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, subprocess.CalledProcessError | subprocess.TimeoutExpired):
            wrote = {"output": error.stdout, "error output": error.stderr}
            report.sections += [(f"{name} of {error.cmd}", as_text(data)) for name, data in wrote.items() if data]
        report.sections += [(f"log of {command}", tail(log)) for log, command in LOGS.items()]
    return report


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The sibling folder with oracle and corpus; the project must pass its tests without it."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent")
    return SHARED


@pytest.fixture(scope="session")
def run_tool() -> Callable[..., str]:
    """Run a tool and return what it prints; skip the test, naming the tool, where it is not installed."""

    def run(name: str, *arguments: str | Path) -> str:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        done = subprocess.run([name, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write bytes into a file of this test's own folder, and return its path."""

    def to_file(data: bytes, name: str = "image.vhd") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return to_file
