"""For programs: the forest as one document, an image an entry; `parent` is the name of the one above it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.escape import as_unicode
from vhdcheck.report.forest.words import TYPES, grown, part
from vhdcheck.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.engine.forest import Row
    from vhdcheck.report.context import Context
    from vhdcheck.report.forest.words import Part

__all__ = ["SUMMARY", "WHOLE", "part", "write"]

WHOLE: Final = True
SUMMARY: Final = True
SCHEMA_VERSION: Final = 1
"""Fields may be added under one version; none is removed or changes its meaning."""


def write(parts: Iterator[Part], context: Context) -> Iterator[str]:
    """Write the forest as JSON, in ASCII; an image a line, so that a million of them need no more memory than they."""
    forest, rows, counts = grown(parts)
    context.results.broken_chains = counts.broken
    yield f'{{"schema_version": {SCHEMA_VERSION}, "tool": {{"name": "vhdcheck", "version": "{__version__}"}},\n'
    yield '"images": ['
    above: list[Row] = []
    for number, row in enumerate(rows):
        del above[row.depth :]
        parent = above[-1].node.source if above else None
        above.append(row)
        yield ("," if number else "") + "\n" + json.dumps(_image(row, parent))
    yield '],\n"not_checked": '
    yield json.dumps(
        [{"source": as_unicode(each.source), "reason": as_unicode(each.reason)} for each in forest.failures]
    )
    yield f',\n"summary": {json.dumps({**counts._asdict(), "broken": counts.broken})}}}\n'


def _image(row: Row, parent: str | None) -> dict[str, Any]:
    node = row.node
    return {
        "source": as_unicode(node.source),
        "state": row.state,
        "parent": None if parent is None else as_unicode(parent),
        "depth": row.depth,
        "children": row.children,
        "dependents": row.dependents,
        "unique_id": str(uuid.UUID(bytes=node.unique_id)),
        "parent_unique_id": str(uuid.UUID(bytes=node.parent_id)) if node.is_child else None,
        "parent_name": as_unicode(node.parent_name) if node.is_child else None,
        "disk_type": TYPES.get(node.disk_type, str(node.disk_type)),
        "virtual_size": node.size,
        "file_size": node.length,
        "own_data": node.own,
        "damaged": node.refused,
    }
