"""What a team sets once: `[tool.vhdcheck]` of a pyproject.toml, and which rules a run goes by.

Only the command reads it. The library never does: a service must not obey a file that lies next to an upload.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.errors import SourceError, UsageError
from vhdcheck.rules import RULES, matching
from vhdcheck.targets import DEFAULT, suggestion
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from vhdcheck.verdict.report import Report

KEYS: Final = ("fail-on", "ignore", "max-physical-size", "max-virtual-size", "select", "target")
FAIL_ON: Final = ("error", "warning")
MAX_FILE: Final = 1 << 20
"""Bytes of a pyproject.toml: more is none."""
NEVER_IGNORED: Final = "VHD999"


@dataclass(frozen=True, slots=True)
class Selection:
    """The rules whose findings count."""

    rules: frozenset[str]

    def of(self, result: Report | Failure) -> Report | Failure:
        """Set a report's other findings aside; they stay counted."""
        if isinstance(result, Failure) or all(finding.rule in self.rules for finding in result.findings):
            return result
        return replace(
            result,
            findings=tuple(finding for finding in result.findings if finding.rule in self.rules),
            ignored=tuple(finding for finding in result.findings if finding.rule not in self.rules),
        )


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


def complete(options: argparse.Namespace) -> None:
    """Fill in what the arguments leave open: from the configuration, else with the defaults.

    The limits of a configuration belong to its target: with another `--target` they do not apply.

    Raises:
        UsageError: `[tool.vhdcheck]` has an unknown key or a value of a wrong kind, or the file is no TOML.
        SourceError: the file cannot be read.
    """
    settings: dict[str, Any] = {}
    if not options.no_config:
        settings = _nearest() if options.config is None else _named(Path(options.config))
    if options.target is not None:
        settings.pop("max-virtual-size", None)
        settings.pop("max-physical-size", None)
    defaults = {"target": DEFAULT, "fail-on": "error", "select": [], "ignore": []}
    for key in KEYS:
        name = key.replace("-", "_")
        if getattr(options, name) is None:
            setattr(options, name, settings.get(key, defaults.get(key)))


def _named(path: Path) -> dict[str, Any]:
    content = _content(path)
    if content is None:
        raise SourceError(f"{path}: no such file, or not a regular one")
    table = _table(path, content)
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
        content = _content(path)
        if content is not None and b"vhdcheck" in content and (table := _table(path, content)) is not None:
            return _settings(path, table)
    return {}


def _content(path: Path) -> bytes | None:
    """Read a regular file: never a pipe, which could make the command wait. Others are none, as those out of reach."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
    except OSError:
        return None
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error


def _table(path: Path, content: bytes) -> dict[str, Any] | None:
    import tomllib  # noqa: PLC0415 (only where the word stands in the file)

    try:
        tool = tomllib.loads(content.decode()).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
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


def _value(key: str, value: Any) -> Any:  # noqa: ANN401 (whatever TOML holds)
    if key not in KEYS:
        raise UsageError(f"unknown key {key!r}{suggestion(key, KEYS)}")
    if key in {"select", "ignore"}:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"{key} takes a list of strings")
    elif key.startswith("max-"):
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise UsageError(f'{key} takes a size: "160GiB", or a number of bytes')
    elif not isinstance(value, str):
        raise UsageError(f"{key} takes a string")
    elif key == "fail-on" and value not in FAIL_ON:
        raise UsageError(f"fail-on is {' or '.join(FAIL_ON)}, not {value!r}{suggestion(value, FAIL_ON)}")
    return value
