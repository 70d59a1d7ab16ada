"""The figures in `benchmarks/README.md`: each program replaces what stands between two marks of its own."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

README: Final = Path(__file__).with_name("README.md")


def machine() -> str:
    """Describe the machine that is measured, and Python."""
    system = f"{platform.system()} {platform.release()}"
    return f"{platform.machine()}, {os.cpu_count()} processors, {system}, Python {platform.python_version()}"


def load() -> str:
    """Say how busy it is."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def put(lines: Iterable[str], mark: str) -> None:
    """Print lines, and write them between the marks of that name."""
    text = "".join(f"{line}\n" for line in lines)
    print(text)
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->\n"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    README.write_text(before + begin + text + end + rest.partition(end)[2], encoding="utf-8")
