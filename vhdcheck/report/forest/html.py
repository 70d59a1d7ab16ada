"""For people who look closer: the forest as one page that needs nothing else.

It is pure ASCII. All that an image says is escaped, and the page's own policy forbids scripts and whatever would be
loaded. Trees are drawn by indentation, not by lists within lists, since browsers stop at some hundred levels.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Final

from vhdcheck.escape import printable
from vhdcheck.report.forest.words import TYPES, census, dependents, grown, part, troubles
from vhdcheck.units import human
from vhdcheck.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.engine.forest import Row
    from vhdcheck.report.context import Context
    from vhdcheck.report.forest.words import Part

__all__ = ["SUMMARY", "WHOLE", "part", "write"]

WHOLE: Final = True
SUMMARY: Final = True
DRAWN: Final = 40
"""Levels that are indented; of deeper ones the number is written."""
STYLE: Final = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:80rem;margin:0 auto;padding:1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #8884;"
    "vertical-align:top;overflow-wrap:anywhere}td.n{text-align:right;white-space:nowrap}"
    ".bad{font-weight:600;color:light-dark(#b42318,#ff9b90)}"
    + "".join(f".d{depth} td:first-child{{padding-left:{0.6 + 1.2 * depth:.1f}rem}}" for depth in range(1, DRAWN + 1))
)


def write(parts: Iterator[Part], context: Context) -> Iterator[str]:
    """Write the forest as a page, in ASCII."""
    forest, rows, counts = grown(parts)
    context.results.broken_chains = counts.broken
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    title, *more = census(counts)
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>vhdcheck: {_text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<p>vhdcheck {__version__}</p>
<h1>{_text(title)}</h1>
"""
    yield "".join(f"<p>{_text(line)}</p>\n" for line in more)
    heads = ("Image", "Type", "Disk", "Own data", "Levels above", "Would break without it", "")
    yield (
        "<table>\n<thead><tr>" + "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead>\n<tbody>\n"
    )
    for row in rows:
        yield _row(row)
    yield "</tbody>\n</table>\n"
    if forest.failures:
        yield "<h2>Not checked</h2>\n<ul>\n"
        for failure in forest.failures:
            yield f"<li><bdi>{_text(failure.source)}</bdi>: {_text(failure.reason)}</li>\n"
        yield "</ul>\n"
    yield "</body>\n</html>\n"


def _row(row: Row) -> str:
    node = row.node
    wrong = "; ".join(troubles(row))
    cells = (
        f"<td><bdi>{_text(node.source)}</bdi></td>",
        f"<td>{_text(TYPES.get(node.disk_type, str(node.disk_type)))}</td>",
        f'<td class="n">{human(node.size)}</td>',
        f'<td class="n">{human(node.own)}</td>',
        f'<td class="n">{row.depth}</td>',
        f"<td>{dependents(row)}</td>",
        f'<td class="bad">{_text(wrong)}</td>' if wrong else "<td></td>",
    )
    return f'<tr class="d{min(row.depth, DRAWN)}">{"".join(cells)}</tr>\n'


def _text(text: str) -> str:
    return escape(printable(text)).encode("ascii", "xmlcharrefreplace").decode()
