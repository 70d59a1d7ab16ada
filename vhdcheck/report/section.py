"""An image's part of the page: verdict, figures, both maps, findings with links to them, regions."""

from __future__ import annotations

from html import escape
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from vhdcheck.escape import printable
from vhdcheck.report.describe import paragraph
from vhdcheck.report.map import compaction_words, share_of, share_words
from vhdcheck.report.regions import regions
from vhdcheck.report.svg import disk_cells, drawing, file_cells, file_strip, spots
from vhdcheck.report.words import repair
from vhdcheck.units import count, exact, grouped, human
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.svg import Cell
    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report


def text(words: str) -> str:
    """Make a text fit to stand in a page."""
    return escape(printable(words))


def verdict(result: Report | Failure) -> str:
    """Say the verdict in words."""
    if isinstance(result, Failure):
        return "not checked"
    return "accepted" if result.ok else "refused"


def badge(word: str) -> str:
    """Write a verdict or a severity with its sign."""
    return f'<span class="badge {_class(word)}">{word}</span>'


def _class(word: str) -> str:
    return word.replace("not checked", "failed")


def section(result: Report | Failure, name: str, cells: int | None) -> Iterator[str]:
    """Write what a page says of one image; `name` begins its identifiers, `cells` bounds its maps' (None: all)."""
    word = verdict(result)
    yield f'<section id="{name}" class="image {_class(word)}">'
    yield f"<h2>{badge(word)} <bdi>{text(result.source)}</bdi></h2>"
    if isinstance(result, Failure):
        yield f'<p class="message">{text(result.reason)}</p></section>'
        return
    if result.message:
        yield f'<p class="message">{text(result.message)}</p>'
    maps = Section(result, name, cells)
    yield from maps.findings()
    yield from maps.repair()
    if described := text(paragraph(result.image, result.chain)):
        yield f"<h3>The image</h3><p>{described}</p>"
    if result.image.unexamined:
        yield f"<p>Not examined: {text('; '.join(result.image.unexamined))}.</p>"
    yield from maps.tiles()
    yield from maps.drawings()
    yield from maps.regions()
    yield "</section>"


class Section:
    """What a page says of one image."""

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
        self._draws_file = any(part.kind in ("data", "metadata") for part in self._regions) and bool(by_file.used)
        self._in_file = (
            {}
            if not self._draws_file
            else spots(report.findings, self._by_file, lambda span: min(span.offset, image.size - 1))
        )
        self._on_disk = {} if self._by_disk is None else spots(report.findings, self._by_disk, attrgetter("block"))

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
        figures.append(("compaction", compaction_words(self._image) or "size not known"))
        tiles = "".join(f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in figures)
        yield f'<dl class="tiles">{tiles}</dl>'

    def drawings(self) -> Iterator[str]:
        """Both maps, and what their cells mean."""
        if self._by_disk is not None and self._image.header is not None and (any(self._by_disk.used) or self._on_disk):
            block = self._image.header.block_size
            each = f"a cell is {share_of(self._by_disk, 'block')} of {human(block)}"
            cells = list(disk_cells(self._by_disk, block))
            yield from self._figure("By disk address", each, "disk", cells, self._on_disk)
        if self._draws_file:
            first = self._by_file.limits(0)[1]
            each = (
                f"a cell is about {human(first)}"
                if first * len(self._by_file.used) != self._by_file.length
                else f"a cell is {human(first)}"
            )
            cells = list(file_cells(self._by_file, self._regions))
            yield from self._figure("By file offset", each, "file", cells, self._in_file)
        outside = self._allocation.outside if self._allocation is not None else 0
        if outside:
            yield f"<p>Behind the end of the file, and so on the first map only: {count(outside, 'block')}.</p>"

    def _figure(
        self, title: str, each: str, axis: str, cells: list[Cell], marks: dict[int, list[int]]
    ) -> Iterator[str]:
        yield f"<figure><h3>{title}</h3><p>{text(each)}, from left to right and down</p>"
        label = f"{title}: {each}"
        yield from drawing(label, f"{self._name}-{axis}-", cells, marks, self._report.findings)
        yield f'<figcaption class="legend">{self._legend(axis)}</figcaption></figure>'

    def _legend(self, axis: str) -> str:
        """Explain the looks of cells, with counts."""
        found = self._allocation
        if axis == "disk" and found is not None:
            unused = grouped(max(0, found.by_disk.length - found.used))
            faulty = grouped(sum(found.by_disk.faulty))
            entries = [
                f"{_key('c0')}not in use: {unused}",
                f"{_SHADES}in part",
                f"{_key('c4')}all in use: {grouped(found.used)}",
                f"{_key('x')}fault: {faulty}",
            ]
        else:
            sizes = dict.fromkeys(("waste", "data", "metadata", "unknown"), 0)
            for part in self._regions:
                sizes[part.kind] += part.taken or part.length
                sizes["waste"] += part.length - (part.taken or part.length)
            words = {
                "waste": f"{_key('w')}belongs to nothing",
                "data": f"{_SHADES}in part</span><span>{_key('c4')}all data",
                "metadata": f"{_key('m')}structures (square)",
                "unknown": f"{_key('u')}not examined",
            }
            entries = [f"{words[kind]}: {human(size)}" for kind, size in sizes.items() if size]
            entries.append(f"{_key('x')}a fault or an error")
        return "".join(f"<span>{entry}</span>" for entry in entries)

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
        raised = f" (an error for {text(finding.raised_by)})" if finding.raised_by else ""
        yield f'<article id="{self._name}-f{index}" class="finding {word}">'
        yield f"<h4>{badge(word)} {finding.rule} {finding.slug}{raised}</h4>"
        yield f"<p>{text(finding.message)}</p><dl>"
        if finding.at is not None:
            length = f", {count(finding.at.length, 'byte')}" if finding.at.length else ""
            yield f"<dt>at</dt><dd>0x{finding.at.offset:x} {text(finding.at.field)}{length}{self._links(index)}</dd>"
        for name, value in (("expected", finding.expected), ("found", finding.found)):
            if value:
                yield f"<dt>{name}</dt><dd>{text(value)}</dd>"
        if finding.fix:
            yield f"<dt>fix</dt><dd>{text(finding.fix)}</dd>"
        yield "</dl></article>"

    def repair(self) -> Iterator[str]:
        """What makes it pass, or why nothing does."""
        found = list(repair(self._report))
        if not found:
            return
        yield '<div class="mend"><h3>What can be done</h3>'
        for kind, lines in groupby(found, lambda line: line.kind):
            texts = [text(line.text) for line in lines]
            if kind == "entry":
                yield f"<ul>{''.join(f'<li>{each}</li>' for each in texts)}</ul>"
            else:
                before, after = ("<p>", "</p>") if kind == "prose" else ("<pre><code>", "</code></pre>")
                yield "".join(f"{before}{each}{after}" for each in texts)
        yield "</div>"

    def _links(self, index: int) -> str:
        links = ""
        for axis, marks in (("disk", self._on_disk), ("file", self._in_file)):
            cell = next((cell for cell, here in marks.items() if index in here), None)
            if cell is not None:
                links += f' <a class="where" href="#{self._name}-{axis}-{cell}">show on the map of the {axis}</a>'
        return links

    def regions(self) -> Iterator[str]:
        """The regions as a table."""
        heads = "".join(f'<th scope="col">{name}</th>' for name in ("offset", "size", "region", "note"))
        yield '<h3>Regions of the file</h3><div class="wide"><table class="regions">'
        yield f"<thead><tr>{heads}</tr></thead><tbody>"
        for part in self._regions:
            size = f'<td class="number" title="{exact(part.length)}">{human(part.length)}</td>'
            name = f"{_key(_LOOKS[part.kind])}{text(part.name)}"
            yield f'<tr><td class="number">0x{part.offset:x}</td>{size}<td>{name}</td><td>{text(part.note)}</td></tr>'
        yield "</tbody></table></div>"


_LOOKS: Final = {"data": "c4", "metadata": "m", "waste": "w", "unknown": "u"}


def _key(look: str) -> str:
    """Draw a cell for a legend."""
    shapes = {"x": '<path class="cross" d="M3.5 3.5l7 7m0-7l-7 7"/>', "m": '<path class="dot" d="M5 5h4v4h-4z"/>'}
    rect = f'<rect class="{look}" width="14" height="14"/>{shapes.get(look, "")}'
    return f'<svg class="key" width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">{rect}</svg>'


_SHADES: Final = "".join(_key(f"c{number}") for number in range(1, 4))
