"""For people who look closer: one page that needs nothing else, with the map of each image.

It is pure ASCII, so that it reads the same in whatever encoding it is written. All that an image says is escaped, and
the page's own policy forbids scripts and whatever would be loaded.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Final

from vhdcheck.report.results import census
from vhdcheck.report.section import badge, section, text, verdict
from vhdcheck.units import count, grouped
from vhdcheck.verdict.report import Failure
from vhdcheck.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdcheck.report.context import Context
    from vhdcheck.report.results import Results
    from vhdcheck.verdict.report import Report

WHOLE: Final = True
SUMMARY: Final = True
SECTIONS: Final = 100
"""Images drawn on a page; the others stand in its list only."""
LISTED: Final = 10_000
FINE: Final = 8
"""Images up to which maps have all their cells; of more, each has a quarter of them."""
COARSE: Final = 128

PATTERNS: Final = """\
<svg width="0" height="0" aria-hidden="true"><defs>
<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse"><rect class="c0" width="5" height="5"/>\
<path class="line" d="M-1 6L6-1"/></pattern>
<pattern id="bars" width="5" height="5" patternUnits="userSpaceOnUse"><rect class="c0" width="5" height="5"/>\
<path class="line" d="M0 2.5h5"/></pattern>
</defs></svg>
"""


def part(result: Report | Failure, context: Context) -> Report | Failure:  # noqa: ARG001 (asked of all forms)
    """Leave an image as it is: which of them are drawn, and how finely, is known when all have come."""
    return result


def write(parts: Iterator[Report | Failure], context: Context) -> Iterator[str]:
    """Write all reports, checked with `allocation`, as a page, in ASCII."""
    reports = list(parts)
    style = resources.files("vhdcheck.report").joinpath("style.css").read_text(encoding="ascii")
    for text_ in _page(reports, context, style):
        yield text_.encode("ascii", "xmlcharrefreplace").decode() + "\n"


def _page(reports: Sequence[Report | Failure], context: Context, style: str) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    title = f"{count(len(reports), 'image')}: {_census(context.results)}"
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>vhdcheck: {text(title)}</title>
<style>{style}</style>
</head>
<body>
{PATTERNS}<header>
<p class="tool">vhdcheck {__version__} for {text(context.target.name)}</p>
<h1>{text(title)}</h1>
<p>{text(census(context.results))}</p>
</header>
<main>"""
    reports = sorted(reports, key=_is_good)  # what needs work comes first
    drawn = range(min(len(reports), SECTIONS))
    if len(reports) > 1:
        yield from _index(reports)
    cells = COARSE if len(reports) > FINE else None
    for index in drawn:
        yield from section(reports[index], f"i{index + 1}", cells)
    yield "</main>\n</body>\n</html>"


def _is_good(result: Report | Failure) -> bool:
    return not isinstance(result, Failure) and result.ok


def _census(results: Results) -> str:
    words = (("accepted", results.accepted), ("refused", results.refused), ("not checked", results.failed))
    return ", ".join(f"{grouped(number)} {word}" for word, number in words if number) or "nothing to check"


def _index(reports: Sequence[Report | Failure]) -> Iterator[str]:
    yield '<nav aria-label="Images"><ul>'
    for index, result in enumerate(islice(reports, LISTED)):
        name = f"<bdi>{text(result.source)}</bdi>"
        link = f'<a href="#i{index + 1}">{name}</a>' if index < SECTIONS else name
        why = result.reason if isinstance(result, Failure) else _why(result)
        yield f"<li>{badge(verdict(result))}<span>{link} <small>{text(why)}</small></span></li>"
    yield "</ul>"
    if len(reports) > LISTED:
        yield f"<p>{count(len(reports) - LISTED, 'image')} more are not listed.</p>"
    if len(reports) > SECTIONS:
        yield f"<p>{SECTIONS} of them are drawn below, those that are not accepted first.</p>"
    yield "</nav>"


def _why(report: Report) -> str:
    """Say what refuses an image."""
    return "" if report.ok else f"{report.message} {report.findings[0].rule} {report.findings[0].slug}"
