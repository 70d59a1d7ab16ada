"""What the plan asks for: few rounds, spans that are sane, and few bytes whatever the headers claim. No I/O at all."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any

import pytest

from fixtures import writer
from fixtures.structures import Footer, Header
from fixtures.writer import DYNAMIC, GIB, KIB, MIB, QEMU, TAP, differencing, dynamic, fixed
from vhdcheck import Image, Span
from vhdcheck.engine.plan import Known, steps
from vhdcheck.engine.windows import Reader, Wanted
from vhdcheck.format.limits import END, MAX_ENTRIES, SEARCH

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH = 48 * MIB  # the longest table that is read, 32 MiB, and everything else


class Served:
    """An image, and what was asked of it."""

    def __init__(self, source: writer.Image, *, deep: bool = False) -> None:
        self.image = Image(source.length)
        self.rounds: list[tuple[Span, ...]] = []
        self.known: list[str] = []
        plan = steps(self.image, deep=deep)
        answer: list[bytes] | tuple[()] = ()
        step = next(plan, None)
        while step is not None:
            if isinstance(step, Wanted):
                self.rounds.append(step.spans)
                assert self.bytes <= ENOUGH
                answer = [source.read(span.offset, span.length) for span in step.spans]
            else:
                assert isinstance(step, Known)
                self.known.append(step.part)
                answer = ()
            try:
                step = plan.send(answer)
            except StopIteration:
                step = None

    @property
    def bytes(self) -> int:
        """How many were asked for."""
        return sum(span.length for spans in self.rounds for span in spans)


def assert_sane(served: Served) -> None:
    """Spans lie inside the file, are not empty, and neither overlap nor touch within one round."""
    for spans in served.rounds:
        assert spans
        assert all(span.length > 0 and 0 <= span.offset < span.end <= served.image.size for span in spans)
        assert all(first.end < second.offset for first, second in itertools.pairwise(spans))


FAR: dict[str, Any] = {"header_offset": 64 * KIB, "table_offset": 128 * KIB}
LAYOUTS: dict[str, Callable[[], writer.Image]] = {
    "empty file": writer.Image,
    "one byte": lambda: writer.Image(1),
    "a footer alone": lambda: fixed(0),
    "4095 bytes": lambda: writer.Image(4095),
    "4097 bytes": lambda: writer.Image(4097),
    "8191 bytes": lambda: writer.Image(8191),
    "nothing in 1 GiB": lambda: writer.Image(GIB),
    "fixed": lambda: fixed(GIB),
    "fixed, 511-byte footer": lambda: fixed(GIB, features=0).cut(1),
    "fixed, trailing bytes": lambda: fixed(GIB).append(b"x" * 5000),
    "empty": lambda: dynamic(10 * MIB),
    "usual": lambda: dynamic(10 * MIB, blocks=range(5)),
    "one entry": lambda: dynamic(2 * MIB, blocks=[0]),
    "Windows 8": lambda: dynamic(10 * MIB, blocks=[0, 3], align=4096, spacing=4104, slack=3584, bat_align=4096),
    "40 GiB": lambda: dynamic(40 * GIB, blocks=range(3)),
    "table not in whole sectors": lambda: dynamic(39 * GIB + 2 * MIB, blocks=range(3)),
    "2040 GiB": lambda: dynamic(2040 * GIB, blocks=range(3)),
    "XenServer": lambda: dynamic(40 * GIB, blocks=range(3), **TAP),
    "XenServer, 2040 GiB": lambda: dynamic(2040 * GIB, blocks=range(3), **TAP),
    "header elsewhere": lambda: dynamic(10 * MIB, blocks=[0], header_offset=64 * KIB),
    "header and table elsewhere": lambda: dynamic(39 * GIB + 2 * MIB, blocks=[0], **FAR),
    "all elsewhere, XenServer": lambda: dynamic(39 * GIB + 2 * MIB, blocks=[0], **FAR, **TAP),
    "table before header": lambda: dynamic(10 * MIB, blocks=[0], header_offset=8192, table_offset=512),
    "child": lambda: differencing(40 * GIB, blocks=[0]),
    "child, all elsewhere": lambda: differencing(39 * GIB + 2 * MIB, blocks=[0], **FAR),
    "tail gone": lambda: dynamic(40 * GIB, blocks=range(3), tail=False),
    "tail and copy gone": lambda: dynamic(40 * GIB, blocks=range(3), tail=False, front=False),
    "trailing bytes": lambda: dynamic(39 * GIB + 2 * MIB, blocks=range(3), **FAR).append(bytes(1000)),
    "header missing": lambda: dynamic(10 * MIB, header=False),
    "header behind the end": lambda: dynamic(10 * MIB, data_offset=1 << 40),
    "header at the very end": lambda: dynamic(10 * MIB, data_offset=(1 << 64) - 1),
    "table behind the end": lambda: dynamic(10 * MIB, header={"table_offset": (1 << 64) - 512}),
    "table over the copy": lambda: dynamic(10 * MIB, header={"table_offset": 0}),
    "block size 0": lambda: dynamic(10 * MIB, header={"block_size": 0}),
    "block size 2 GiB": lambda: dynamic(10 * MIB, header={"block_size": 1 << 31}),
    "type 5": lambda: dynamic(10 * MIB, disk_type=5),
    "type 0 with nothing": lambda: fixed(10 * MIB, disk_type=0, data_offset=512),
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> writer.Image:
    """An image of some layout."""
    return LAYOUTS[request.param]()


@pytest.mark.parametrize("deep", [False, True])
def test_spans_are_sane(layout: writer.Image, deep: bool) -> None:
    assert_sane(Served(layout, deep=deep))


def test_three_rounds_at_most(layout: writer.Image) -> None:
    assert len(Served(layout).rounds) <= 3


@pytest.mark.parametrize("sized", ["usual", "Windows 8", "fixed", "empty", "one entry"])
def test_one_round_where_both_ends_hold_everything(sized: str) -> None:
    served = Served(LAYOUTS[sized]())
    assert len(served.rounds) == 1
    assert served.bytes <= 2 * END


def test_dead_space_and_a_batmap_elsewhere_take_one_round_more() -> None:
    assert len(Served(dynamic(40 * GIB, blocks=[0], slack=MIB)).rounds) == 3
    far_map = dynamic(40 * GIB, blocks=[0], batmap={"offset": MIB}, **TAP)
    assert len(Served(far_map).rounds) <= 4


def test_parts_come_in_order_and_once() -> None:
    known = Served(dynamic(10 * MIB, blocks=[0], slack=MIB, **TAP), deep=True).known
    assert known[:7] == ["size", "file", "footer", "copies", "header", "locators", "table"]
    assert sorted(known[7:-1]) == ["batmap", "bitmaps", "slack"]
    assert known[-1] == "image"
    assert Served(fixed(10 * MIB)).known == ["size", "file", "footer", "copies", "image"]
    assert Served(writer.Image(9000)).known == ["size", "file"]


def test_the_plan_is_lazy() -> None:
    plan = steps(Image(10_000))
    first = next(plan)
    assert isinstance(first, Wanted)
    assert first.spans == (Span(0, END), Span(10_000 - END, END))


def hostile(footer: dict[str, Any], header: dict[str, Any], length: int) -> writer.Image:
    """Build an image that claims much and stores nothing: 16 TiB are free in a sparse file."""
    front = Footer(**{"size": 16 << 40, "disk_type": DYNAMIC, **footer})
    image = writer.Image(length - 512, {0: front.pack(), 512: Header(**header).pack()})
    return image.append(front.pack())


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("footer", "header"),
    [
        ({}, {"max_table_entries": 0xFFFF_FFFF}),
        ({}, {"max_table_entries": 0xFFFF_FFFF, "block_size": 512}),
        ({}, {"max_table_entries": MAX_ENTRIES + 1}),
        ({"current_size": (1 << 64) - 1}, {"max_table_entries": 1, "block_size": 512}),
        (TAP, {"max_table_entries": 0xFFFF_FFFF}),
        (TAP, {"max_table_entries": 1 << 22}),
    ],
)
def test_few_bytes_whatever_is_claimed(deep: bool, footer: dict[str, Any], header: dict[str, Any]) -> None:
    served = Served(hostile(footer, header, 16 << 40), deep=deep)
    assert_sane(served)
    table = 4 * header["max_table_entries"] if header["max_table_entries"] <= MAX_ENTRIES else 0
    assert served.bytes <= 2 * END + SEARCH + table + 2 * MIB
    if header["max_table_entries"] > MAX_ENTRIES:
        assert served.image.table is None
        assert any("entries" in reason for reason in served.image.unexamined)


def test_the_longest_table_is_read_in_pieces() -> None:
    entries = MAX_ENTRIES
    image = hostile({}, {"max_table_entries": entries}, 16 << 40)
    served = Served(image)
    assert max(span.length for spans in served.rounds for span in spans) <= 8 * MIB + 8192
    assert served.image.table is not None
    assert (served.image.table.entries, served.image.table.used) == (entries, entries)


@pytest.mark.parametrize("claim", [0xFFFF_FFFF, 1 << 30])
def test_locators_and_batmaps_that_claim_much(claim: int) -> None:
    locators = tuple(
        writer.Locator(code, data_space=claim, data_length=claim, data_offset=4096 * (number + 1))
        for number, code in enumerate((b"W2ru", b"W2ku", b"MacX", b"Mac ", b"Wi2r", b"Wi2k", b"XXXX", b"YYYY"))
    )
    image = hostile({"disk_type": 4}, {"max_table_entries": 8, "locators": locators}, 1 << 40)
    served = Served(image)
    assert_sane(served)
    assert served.bytes <= 8 * 64 * KIB + 4 * END
    batmap = dynamic(10 * MIB, batmap={"sectors": claim}, **TAP)
    batmap.length = 1 << 40
    assert Served(batmap.append(Footer(10 * MIB, disk_type=DYNAMIC, **TAP).pack())).bytes <= 4 * MIB


@pytest.mark.parametrize(("sectors", "length"), [(2048, MIB), (2049, 0)])
def test_a_batmap_is_read_up_to_that_of_the_longest_table(sectors: int, length: int) -> None:
    image = dynamic(10 * MIB, batmap={"sectors": sectors}, slack=2 * MIB, **TAP)
    batmap = Served(image).image.batmap
    assert batmap is not None
    assert len(batmap.map) == length


@pytest.mark.parametrize("places", [[4] * 10, [4, 5, 6, 4, 5, 6], [0] * 10, [1, 2, 3]])
def test_deep_asks_for_no_byte_twice(places: list[int]) -> None:
    image = dynamic(2 * len(places) * MIB, blocks=[0], bat=dict(enumerate(places)))
    served = Served(image, deep=True)
    assert_sane(served)
    assert served.bytes <= image.length


def test_deep_is_bounded_too() -> None:
    # 64 Ki entries, all zeros: a hole in a sparse file. Every bitmap has 512 KiB: 32 GiB of them, all the same bytes.
    header = {"max_table_entries": 64 * KIB, "block_size": 1 << 31}
    served = Served(hostile({"current_size": 64 << 40}, header, 16 << 40), deep=True)
    assert served.bytes <= ENOUGH


def test_a_table_in_file_order_costs_what_it_says() -> None:
    image = dynamic(40 * GIB, blocks=range(3), **QEMU)
    served = Served(image)
    assert served.bytes <= 2 * END + 4 * 20480
    assert len(served.rounds) == 2
    assert struct.unpack(">I", image.read(1536, 4)) == (4 + 20480 * 4 // 512 - 1,)


def test_spans_that_touch_are_read_as_one() -> None:
    """Also where a later one ends before an earlier one, and where others lie elsewhere."""
    spans = [Span(*each, "x") for each in ((0, 10), (100, 50), (110, 5), (150, 10), (300, 1))]
    wanted = next(Reader(Image(1000)).ask(*spans))
    assert [(span.offset, span.length) for span in wanted.spans] == [(0, 10), (100, 60), (300, 1)]
