"""What a team sets once: `[tool.vhdcheck]` of a pyproject.toml, and which rules a run goes by.

Only the command reads it. The library never does: a service must not obey a file that lies next to an upload.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.errors import UsageError
from vhdcheck.rules import RULES, matching
from vhdcheck.targets import suggestion
from vhdcheck.toml import is_file, tables
from vhdcheck.units import parse_size
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdcheck.verdict.report import Report

KEYS: Final = ("fail-on", "ignore", "max-physical-size", "max-virtual-size", "select", "target")
FAIL_ON: Final = ("error", "warning")
NEVER_IGNORED: Final = "VHD999"


@dataclass(frozen=True, slots=True)
class Selection:
    """The rules whose findings count."""

    rules: frozenset[str]

    def of(self, result: Report | Failure) -> Report | Failure:
        """Set a report's other findings aside; they stay counted."""
        if isinstance(result, Failure) or all(finding.rule in self.rules for finding in result.findings):
            return result
        left = replace(
            result,
            findings=tuple(finding for finding in result.findings if finding.rule in self.rules),
            ignored=tuple(finding for finding in result.findings if finding.rule not in self.rules),
        )
        return replace(left, repair=None) if left.ok else left


def selection(select: Iterable[str], ignore: Iterable[str]) -> Selection:
    """Choose rules by number, slug or the beginning of a number, several in a word with commas between.

    Args:
        select: only these; all, where it is empty.
        ignore: and of them not these. VHD999 always counts: what vhdcheck failed on is not accepted.

    Raises:
        UsageError: there is no such rule, or VHD999 is to be ignored.
    """
    chosen = [matching(word) for word in _words(select)]
    left_out = [matching(word) for word in _words(ignore)]
    if {NEVER_IGNORED} in left_out:
        raise UsageError(f"{NEVER_IGNORED} cannot be ignored: what vhdcheck failed on is not accepted")
    rules = frozenset().union(*chosen) if chosen else frozenset(RULES)
    return Selection(rules.difference(*left_out) | {NEVER_IGNORED})


def _words(lists: Iterable[str]) -> list[str]:
    return [word for text in lists for part in text.split(",") if (word := part.strip())]


def settings(name: str | None) -> dict[str, Any]:
    """Read the configuration: of a file, or of the nearest pyproject.toml, from the working directory upwards.

    Args:
        name: the file; it must have a table [tool.vhdcheck]. Without one, no table means no settings.

    Raises:
        UsageError: `[tool.vhdcheck]` has an unknown key or a value of a wrong kind, or the file is no TOML.
        SourceError: the file cannot be read.
    """
    return _nearest() if name is None else _named(Path(name))


def _named(path: Path) -> dict[str, Any]:
    table = _table(path, tables(path))
    if table is None:
        raise UsageError(f"{path}: has no table [tool.vhdcheck]")
    return _settings(path, table)


def _nearest() -> dict[str, Any]:
    """Read the nearest pyproject.toml, from the working directory upwards, that has the table."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was deleted
        return {}
    for folder in (here, *here.parents):
        path = folder / "pyproject.toml"
        if is_file(path) and (table := _table(path, tables(path, b"vhdcheck"))) is not None:
            return _settings(path, table)
    return {}


def _table(path: Path, content: dict[str, Any]) -> dict[str, Any] | None:
    tool = content.get("tool", {})
    table = tool.get("vhdcheck") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: tool.vhdcheck is no table")
    return table


def _settings(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    try:
        settings = {key: _value(key, value) for key, value in table.items()}
        selection(settings.get("select", ()), settings.get("ignore", ()))
    except UsageError as error:
        raise UsageError(f"{path}: [tool.vhdcheck]: {error}") from error
    target = settings.get("target", "")
    if "/" in target or target.endswith(".toml"):  # the file that names it is the one that it lies by
        settings["target"] = str(path.parent / target)
    return settings


def _value(key: str, value: Any) -> Any:  # whatever TOML holds
    if key not in KEYS:
        raise UsageError(f"unknown key {key!r}{suggestion(key, KEYS)}")
    if key in {"select", "ignore"}:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"{key} takes a list of strings")
    elif key.startswith("max-"):
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise UsageError(f'{key} takes a size: "160GiB", or a number of bytes')
        return parse_size(str(value) if isinstance(value, int) and value > 0 else value)
    elif not isinstance(value, str):
        raise UsageError(f"{key} takes a string")
    elif key == "fail-on" and value not in FAIL_ON:
        raise UsageError(f"fail-on is {' or '.join(FAIL_ON)}, not {value!r}{suggestion(value, FAIL_ON)}")
    return value
