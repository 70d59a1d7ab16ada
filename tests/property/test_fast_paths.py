"""What is quick says the same as what is plain: rules in families, the first question, construct's compiled parsers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.recipes import CASES, NOW, Case
from fixtures.writer import KIB, TAP, differencing, dynamic, fixed
from vhdcheck.engine.plan import Known, steps
from vhdcheck.engine.windows import Reader
from vhdcheck.format import layout, lookalikes
from vhdcheck.format.limits import END
from vhdcheck.format.span import Span
from vhdcheck.format.structures import checksum
from vhdcheck.image import Image
from vhdcheck.rules import registry
from vhdcheck.sources.local import BufferSource
from vhdcheck.targets import load, names

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from vhdcheck.engine.windows import Wanted
    from vhdcheck.sources.source import Source

SMALL: dict[str, Any] = {"block_size": 4 * KIB}
IMAGES = [
    image.tobytes()
    for image in (
        fixed(8 * KIB),
        fixed(8 * KIB, features=0).cut(1),
        dynamic(20 * KIB, blocks=[0, 3], **SMALL),
        dynamic(20 * KIB, blocks=[0, 3], **SMALL, **TAP),
        differencing(20 * KIB, blocks=[0], **SMALL),
    )
]
STRUCTURES = [layout.FOOTER, layout.SHORT_FOOTER, layout.DYNAMIC_HEADER_RAW_LOCATORS, layout.LOCATOR]
STRUCTURES += [layout.BATMAP_HEADER_1_1, layout.BATMAP_HEADER_1_2]


def known(source: Source, *, deep: bool = False) -> Iterator[tuple[Known, Image]]:
    """Yield each part of an image, with what is known of the image by then."""
    image = Image(source.size)
    plan = steps(image, deep=deep)
    answer: Any = None
    try:
        while True:
            step = plan.send(answer)
            if isinstance(step, Known):
                yield step, image
                answer = None
            else:
                answer = source.read(step.spans)
    except StopIteration:
        pass


def assert_the_same(source: Source, target: str, *, deep: bool = False) -> None:
    for part, image in known(source, deep=deep):
        given_: dict[str, Any] = {"image": image, "target": load(target), "now": NOW}
        quick = registry.judge(part.part, part.value, **given_)
        assert quick == registry.one_by_one(part.part, part.value, **given_), part.part


class Built:
    """A driver for an image as it is built, which may be sparse and long."""

    def __init__(self, case: Case) -> None:
        self.name, self._image = case.name, case.build()
        self.size = self._image.length

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        return [self._image.read(span.offset, span.length) for span in spans]

    def verify(self) -> None:
        """Nobody else has it."""


@pytest.fixture(scope="module")
def cases() -> list[Built]:
    return [Built(case) for case in CASES]


@pytest.mark.parametrize("target", ["generic", "azure", "xenserver"])
def test_rules_find_the_same_in_families_as_one_by_one(cases: list[Built], target: str) -> None:
    for case in cases:
        assert_the_same(case, target, deep=target == "generic")


@given(st.sampled_from(IMAGES), st.sampled_from(names()), st.data())
def test_rules_find_the_same_in_damaged_images(image: bytes, target: str, data: st.DataObject) -> None:
    places = st.one_of(st.integers(0, min(2560, len(image) - 1)), st.integers(len(image) - 512, len(image) - 1))
    changed = bytearray(image)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=8)).items():
        changed[place] = value
    assert_the_same(BufferSource(bytes(changed), "damaged"), target)


def answered(plan: Generator[Wanted, Any, Any], data: bytes) -> tuple[list[tuple[int, int]], Any]:
    """Answer a question, and return what was asked for, and what came of it."""
    asked: list[tuple[int, int]] = []
    answer: Any = None
    try:
        while True:
            spans = plan.send(answer).spans
            asked += [(span.offset, span.length) for span in spans]
            answer = [data[span.offset : span.end] for span in spans]
    except StopIteration as end:
        return asked, end.value


@given(st.one_of(st.integers(0, 3 * END), st.sampled_from([0, 1, END, 2 * END - 1, 2 * END, 2 * END + 1])))
def test_both_ends_are_asked_for_as_any_spans_are(size: int) -> None:
    data = bytes(place % 251 for place in range(size))
    asked, ends = answered(Reader(Image(size)).ends(), data)
    spans = Span(0, END, "file"), Span(max(0, size - END), END, "file")
    assert (asked, list(ends)) == answered(Reader(Image(size)).ask(*spans), data)


@pytest.mark.parametrize("size", [100, 2 * END + 1])
def test_an_end_out_of_reach_is_noted_as_any_span_is(size: int) -> None:
    quick, plain = Image(size), Image(size)
    spans = Span(0, END, "file"), Span(max(0, size - END), END, "file")
    for plan in (Reader(quick).ends(), Reader(plain).ask(*spans)):
        wanted = next(plan)
        with pytest.raises(StopIteration):
            plan.send([None] * len(wanted.spans))
    assert quick.unseen == plain.unseen == list(spans)


@given(st.sampled_from(STRUCTURES), st.randoms(use_true_random=False))
def test_what_construct_compiled_says_what_it_interprets(structure: Any, random: Any) -> None:
    raw = random.randbytes(structure.sizeof())
    parsed = structure.parse(raw)
    plain = [parsed[field.name] for field in structure.subcons]
    compiled = layout.compiled(structure).parsefunc(io.BytesIO(raw), layout._NO_CONTEXT)
    assert layout.values(structure, raw) == plain == list(compiled.values())


def test_values_are_the_same_before_and_after_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_COMPILED", {})
    monkeypatch.setattr(layout, "_PARSED", {})
    raw = bytes(range(256)) * 2
    told = [layout.values(layout.FOOTER, raw) for _ in range(layout.WORTH_COMPILING + 2)]
    assert layout.FOOTER in layout._COMPILED
    assert all(values == told[0] for values in told)


@given(st.binary(min_size=70, max_size=1200), st.integers(0, 60))
def test_checksum(data: bytes, at: int) -> None:
    assert checksum(data, at) == ~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF


@given(st.sampled_from(lookalikes._CONTENT), st.binary(max_size=80), st.binary(max_size=8))
def test_content_is_recognised_by_offset_as_by_mark(mark: Any, before: bytes, behind: bytes) -> None:
    for head in (before.ljust(mark.offset, b"\0")[: mark.offset] + mark.mark + behind, before):
        assert lookalikes.recognise_content(head) == lookalikes._by_marks(head, lookalikes._CONTENT)
