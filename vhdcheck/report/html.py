"""The report as one page that needs nothing else: verdicts, findings with their place on the maps, regions.

It is pure ASCII, so that it reads the same in whatever encoding it is written. All that an image says is escaped, and
the page's own policy forbids scripts and whatever would be loaded.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Final

import vhdcheck
from vhdcheck.findings import Failure
from vhdcheck.report.describe import paragraph
from vhdcheck.report.map import compaction_words, share_words
from vhdcheck.report.regions import regions
from vhdcheck.report.results import fix_parts, printable, severity_words
from vhdcheck.report.svg import disk_cells, drawing, file_cells, file_strip, place, spots
from vhdcheck.units import count, exact, grouped, human

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdcheck.findings import Finding, Report
    from vhdcheck.report.results import Results
    from vhdcheck.report.svg import Cell
    from vhdcheck.targets import Target

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


def document(reports: Sequence[Report | Failure], results: Results, target: Target) -> Iterator[str]:
    """Write all reports as a page, in pieces of ASCII.

    Args:
        reports: checked with `allocation`.
        results: what they come to.
        target: what was judged for.
    """
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="ascii")
    for part in _page(reports, results, target, style):
        yield part.encode("ascii", "xmlcharrefreplace").decode() + "\n"


def _page(reports: Sequence[Report | Failure], results: Results, target: Target, style: str) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    title = f"{count(len(reports), 'image')}: {_census(results)}"
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>vhdcheck: {_text(title)}</title>
<style>{style}</style>
</head>
<body>
{PATTERNS}<header>
<p class="tool">vhdcheck {vhdcheck.__version__} for {_text(target.name)}</p>
<h1>{_text(title)}</h1>
<p>{_text(severity_words(results.by_severity))}</p>
</header>
<main>"""
    drawn = sorted(range(len(reports)), key=lambda index: _is_good(reports[index]))[:SECTIONS]  # the bad ones first
    if len(reports) > 1:
        yield from _index(reports, frozenset(drawn))
    cells = COARSE if len(reports) > FINE else None
    for index in sorted(drawn):
        yield from _section(reports[index], f"i{index + 1}", cells)
    yield "</main>\n</body>\n</html>"


def _is_good(result: Report | Failure) -> bool:
    return not isinstance(result, Failure) and result.ok


def _census(results: Results) -> str:
    words = (("accepted", results.accepted), ("refused", results.refused), ("not checked", results.failed))
    return ", ".join(f"{grouped(number)} {word}" for word, number in words if number) or "nothing to check"


def _text(text: str) -> str:
    return escape(printable(text))


def _verdict(result: Report | Failure) -> tuple[str, str]:
    """The verdict as the page's class and in words."""
    if isinstance(result, Failure):
        return "failed", "not checked"
    return ("accepted", "accepted") if result.ok else ("refused", "refused")


def _index(reports: Sequence[Report | Failure], drawn: frozenset[int]) -> Iterator[str]:
    yield '<nav aria-label="Images"><div class="wide"><table class="index">'
    yield '<thead><tr><th scope="col">verdict</th><th scope="col">image</th><th scope="col">message</th></tr></thead><tbody>'
    for index, result in enumerate(islice(reports, LISTED)):
        look, word = _verdict(result)
        name = f"<bdi>{_text(result.source)}</bdi>"
        link = f'<a href="#i{index + 1}">{name}</a>' if index in drawn else name
        why = result.reason if isinstance(result, Failure) else result.message or ""
        yield f'<tr><td><span class="badge {look}">{word}</span></td><td>{link}</td><td>{_text(why)}</td></tr>'
    yield "</tbody></table></div>"
    if len(reports) > LISTED:
        yield f"<p>{count(len(reports) - LISTED, 'image')} more are not listed.</p>"
    if len(reports) > SECTIONS:
        yield f"<p>{SECTIONS} of them are drawn below, those that are not accepted first.</p>"
    yield "</nav>"


def _section(result: Report | Failure, name: str, cells: int | None) -> Iterator[str]:
    look, word = _verdict(result)
    yield f'<section id="{name}" class="image {look}">'
    yield f'<h2><span class="badge {look}">{word}</span> <bdi>{_text(result.source)}</bdi></h2>'
    if isinstance(result, Failure):
        yield f'<p class="message">{_text(result.reason)}</p></section>'
        return
    if result.message:
        yield f'<p class="message">{_text(result.message)}</p>'
    yield f"<p>{_text(paragraph(result.image))}</p>"
    if result.image.unexamined:
        yield f"<p>Not examined: {_text('; '.join(result.image.unexamined))}.</p>"
    maps = _Maps(result, name, cells)
    yield from maps.tiles()
    yield from maps.drawings()
    yield from maps.findings()
    yield from maps.regions()
    yield "</section>"


class _Maps:
    """The maps of an image, and what refers to them."""

    def __init__(self, report: Report, name: str, cells: int | None) -> None:
        self._report, self._name = report, name
        self._image = image = report.image
        self._regions = regions(image)
        self._allocation = allocation = image.allocation
        by_file = allocation.by_file if allocation is not None else file_strip(image.size)
        self._by_file = by_file.merged(cells) if cells else by_file
        self._by_disk = None
        if allocation is not None and allocation.by_disk.length:
            self._by_disk = allocation.by_disk.merged(cells) if cells else allocation.by_disk
        self._in_file = spots(report.findings, self._by_file, lambda span: min(span.offset, image.size - 1))
        self._on_disk = {} if self._by_disk is None else spots(report.findings, self._by_disk, lambda s: place(s.field))

    def tiles(self) -> Iterator[str]:
        """What the map comes to, in figures."""
        figures = [("file", human(self._image.size))]
        if self._image.footer is not None:
            figures.insert(0, ("disk", human(self._image.footer.current_size)))
        if (found := self._allocation) is not None:
            blocks = grouped(found.used) + f" of {grouped(found.by_disk.length)}"
            figures += [("blocks in use", blocks), ("faulty blocks", grouped(found.faulty))]
            if found.used:
                figures += [("extents", grouped(found.extents)), ("blocks in order", share_words(found.in_order))]
        figures.append(("compaction", compaction_words(self._image).replace(" after compaction", "")))
        tiles = "".join(f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>" for name, value in figures)
        yield f'<dl class="tiles">{tiles}</dl>'

    def drawings(self) -> Iterator[str]:
        """Both maps, and what their cells mean."""
        if self._by_disk is not None and self._image.header is not None:
            block = self._image.header.block_size
            most = -(-self._by_disk.length // len(self._by_disk.used))
            each = f"a cell is up to {count(most, 'block')} of {human(block)}"
            cells = list(disk_cells(self._by_disk, block))
            yield from self._figure("By disk address", each, "disk", cells, self._on_disk)
        most = -(-self._by_file.length // len(self._by_file.used)) if self._by_file.used else 0
        cells = list(file_cells(self._by_file, self._regions))
        yield from self._figure("By file offset", f"a cell is up to {human(most)}", "file", cells, self._in_file)
        outside = self._allocation.outside if self._allocation is not None else 0
        if outside:
            yield f"<p>{count(outside, 'block')} begin behind the end of the file, and are on the first map only.</p>"

    def _figure(
        self, title: str, each: str, axis: str, cells: list[Cell], marks: dict[int, list[int]]
    ) -> Iterator[str]:
        yield f"<figure><h3>{title}</h3><p>{_text(each)}, from left to right and down</p>"
        label = f"{title}: {each}"
        yield from drawing(label, f"{self._name}-{axis}-", cells, marks, self._report.findings)
        yield f'<figcaption class="legend">{_legend(axis)}</figcaption></figure>'

    def findings(self) -> Iterator[str]:
        """Each finding, with links to its cells."""
        if not self._report.findings:
            yield '<p class="none">No findings.</p>'
            return
        yield f"<h3>{count(len(self._report.findings), 'finding')}</h3>"
        for index, finding in enumerate(self._report.findings):
            yield from self._finding(index, finding)

    def _finding(self, index: int, finding: Finding) -> Iterator[str]:
        word = finding.severity.word
        raised = f" (an error for {_text(finding.raised_by)})" if finding.raised_by else ""
        yield f'<article id="{self._name}-f{index}" class="finding {word}">'
        yield f'<h4><span class="badge {word}">{word}</span> {finding.rule} {finding.slug}{raised}</h4>'
        yield f"<p>{_text(finding.message)}</p><dl>"
        if finding.at is not None:
            length = f", {count(finding.at.length, 'byte')}" if finding.at.length else ""
            yield f"<dt>at</dt><dd>0x{finding.at.offset:x} {_text(finding.at.field)}{length}{self._links(index)}</dd>"
        for name, value in (("expected", finding.expected), ("found", finding.found)):
            if value:
                yield f"<dt>{name}</dt><dd>{_text(value)}</dd>"
        if finding.fix:
            parts = fix_parts(finding.fix, self._report.source)
            words = "".join(f"<pre><code>{_text(text)}</code></pre>" if is_command else f"<p>{_text(text)}</p>" for is_command, text in parts)
            yield f"<dt>fix</dt><dd>{words}</dd>"
        yield "</dl></article>"

    def _links(self, index: int) -> str:
        links = ""
        for axis, marks in (("disk", self._on_disk), ("file", self._in_file)):
            cell = next((cell for cell, here in marks.items() if index in here), None)
            if cell is not None:
                links += f' <a class="where" href="#{self._name}-{axis}-{cell}">show on the map of the {axis}</a>'
        return links

    def regions(self) -> Iterator[str]:
        """The regions as a table."""
        yield '<h3>Regions of the file</h3><div class="wide"><table class="regions"><thead><tr><th scope="col">offset</th>'
        yield '<th scope="col">size</th><th scope="col">region</th><th scope="col">note</th></tr></thead><tbody>'
        for part in self._regions:
            yield (
                f'<tr><td class="number">0x{part.offset:x}</td><td class="number" title="{exact(part.length)}">'
                f"{human(part.length)}</td><td>{_key(_looks(part.kind))}{_text(part.name)}</td><td>{_text(part.note)}</td></tr>"
            )
        yield "</tbody></table></div>"


def _looks(kind: str) -> str:
    return {"data": "c4", "waste": "w", "unknown": "u"}.get(kind, "m")


def _key(look: str) -> str:
    """Draw a cell for a legend."""
    shapes = {"x": '<path class="cross" d="M3.5 3.5l7 7m0-7l-7 7"/>', "m": '<path class="dot" d="M5 5h4v4h-4z"/>'}
    return (
        f'<svg class="key" width="14" height="14" viewBox="0 0 14 14" aria-hidden="true"><rect class="{look}" width="14"'
        f' height="14"/>{shapes.get(look, "")}</svg>'
    )


def _legend(axis: str) -> str:
    shades = "".join(_key(f"c{number}") for number in range(1, 4))
    if axis == "disk":
        entries = [f"{_key('c0')} not in use", f"{shades} in use in part", f"{_key('c4')} all in use"]
    else:
        entries = [f"{_key('w')} belongs to nothing", f"{shades} taken in part", f"{_key('c4')} all taken"]
        entries += [f"{_key('m')} structures (a square: some)", f"{_key('u')} not examined"]
    return "".join(f"<span>{entry}</span>" for entry in [*entries, f"{_key('x')} a fault or an error"])


