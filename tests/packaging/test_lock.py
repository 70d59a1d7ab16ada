"""The locked environment of CI: complete, hashed, and what pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCKS = {
    "lock.txt": ("test", "test-ci", "test-remote", "test-tasks", "lint"),
    "lock-glance.txt": ("test-glance",),
}


def required(table: dict[str, list[str]], extra: str) -> Iterator[Requirement]:
    """Yield what an extra asks for, and the extras that it is made of."""
    for requirement in map(Requirement, table[extra]):
        if requirement.name == "vhdcheck":
            for part in requirement.extras:
                yield from required(table, part)
        else:
            yield requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_what_is_asked_for_with_hashes(lock: str, root: Path) -> None:
    text = (root / ".ci" / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    versions: dict[str, set[str]] = {}
    for entry in entries:
        name, version = re.match(r"([\w.-]+)==([\w.+!-]+)", entry).groups()  # type: ignore[union-attr]
        versions.setdefault(canonicalize_name(name), set()).add(version)
        assert "--hash=sha256:" in entry
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    for extra in LOCKS[lock]:
        wanted += required(project["optional-dependencies"], extra)
    assert len(wanted) > 5
    for requirement in wanted:
        locked = versions.get(canonicalize_name(requirement.name), set())
        assert locked, f"{requirement.name} is not locked: run .ci/lock"
        assert all(version in requirement.specifier for version in locked), f"{requirement}: run .ci/lock"
