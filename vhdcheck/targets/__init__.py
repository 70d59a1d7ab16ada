"""What a destination accepts, over and above the format. Each target is a small TOML file that names its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from vhdcheck.errors import UsageError
from vhdcheck.toml import tables
from vhdcheck.units import parse_size

DEFAULT: Final = "rackspace"
_FOLDER: Final = Path(__file__).parent
_TYPES: Final = ("fixed", "dynamic", "differencing")


@dataclass(frozen=True, slots=True)
class Target:
    """A destination. Sizes are bytes; None where there is no limit."""

    name: str
    title: str = ""
    accepts: str = ""
    """What it takes, over and above the format, in words: for the table of targets."""
    source: str = ""
    """Where its demands are published."""
    disk_types: tuple[str, ...] = _TYPES
    max_virtual_size: int | None = None
    min_virtual_size: int | None = None
    max_physical_size: int | None = None
    virtual_size_multiple: int = 512
    file_is_virtual_plus_footer: bool = False
    """Whether the file must be exactly 512 bytes longer than the disk."""
    unresizable_creators: tuple[str, ...] = ()
    """Creator tags whose images the destination imports, but cannot resize."""
    refuses: frozenset[str] = frozenset()
    """Slugs of rules whose findings are ERRORs here, whatever the format says."""


_SIZES: Final = ("max_virtual_size", "min_virtual_size", "max_physical_size", "virtual_size_multiple")
_LISTS: Final = {"disk_types": tuple, "unresizable_creators": tuple, "refuses": frozenset}
_KEYS: Final = tuple(Target.__dataclass_fields__)


@cache
def names() -> tuple[str, ...]:
    """List the targets that come with vhdcheck."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load(
    target: str | Target, *, max_virtual_size: str | int | None = None, max_physical_size: str | int | None = None
) -> Target:
    """Find a target by name, or by the path of a TOML file (something with a `/` or ending in `.toml`).

    Args:
        target: name, path, or a Target.
        max_virtual_size: overrides the target's own limit.
        max_physical_size: overrides the target's own limit.

    Raises:
        UsageError: no such target, or a file with unknown keys or wrong values.
        SourceError: the file cannot be read.
    """
    loaded = target if isinstance(target, Target) else _by_name(str(target))
    if max_virtual_size is not None:
        loaded = replace(loaded, max_virtual_size=parse_size(max_virtual_size))
    if max_physical_size is not None:
        loaded = replace(loaded, max_physical_size=parse_size(max_physical_size))
    return loaded


def _by_name(name: str) -> Target:
    if name in names():
        return _bundled(name)
    if "/" in name or "\\" in name or name.endswith(".toml"):
        return _read(Path(name))
    guess = suggestion(name, names())
    raise UsageError(f"unknown target {name!r}: one of {', '.join(names())}, or the path of a TOML file{guess}")


@cache
def _bundled(name: str) -> Target:
    return _read(_FOLDER / f"{name}.toml")


def _read(path: Path) -> Target:
    values = tables(path)
    try:
        return Target(**{"name": path.stem} | {key: _value(key, value) for key, value in values.items()})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _value(key: str, value: Any) -> Any:  # whatever TOML holds
    if key not in _KEYS:
        raise UsageError(f"unknown key {key!r}{suggestion(key, _KEYS)}")
    if key in _SIZES:
        # A limit is typed by people; 512 for a multiple is meant as it stands.
        size = parse_size(str(value) if type(value) is int and value > 0 and key.startswith("max_") else value)
        if key == "virtual_size_multiple" and not size:
            raise UsageError(f"{key} cannot be zero")
        return size
    if key in _LISTS:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"{key} takes a list of strings")
        if key == "disk_types" and (unknown := [item for item in value if item not in _TYPES]):
            raise UsageError(f"unknown disk type {unknown[0]!r}: {', '.join(_TYPES)}")
        return _LISTS[key](value)
    wanted = bool if key == "file_is_virtual_plus_footer" else str
    if not isinstance(value, wanted):
        raise UsageError(f"{key} takes a {'boolean' if wanted is bool else 'string'}")
    return value


def suggestion(word: str, known: tuple[str, ...]) -> str:
    """Say which known word was probably meant: `, did you mean 'x'?`, or nothing."""
    import difflib  # only for a mistake

    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
