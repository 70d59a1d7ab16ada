"""The command as in tests/cli, and a library that makes the system fail it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import bad, good, powerless, run, start
from tests.helpers import finished

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bad", "good", "powerless", "run", "start"]


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """Say how reads of `image.vhd` and of standard input go wrong, as changes of the environment; see `failing.c`."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc is not installed")
    library = tmp_path_factory.mktemp("failing") / "failing.so"
    source = Path(__file__).with_name("failing.c")
    finished([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"])

    def to_fail(how: str, *, at: int = 1, path: Path | None = None) -> dict[str, str]:
        return {"LD_PRELOAD": str(library), "FAIL_HOW": how, "FAIL_AT": str(at), "FAIL_PATH": str(path or "")}

    return to_fail
