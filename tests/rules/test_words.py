"""What findings say where the words depend on the image: causes, and what can be done."""

from __future__ import annotations

import pytest

from fixtures.recipes import CASES, NOW
from fixtures.recipes.cases import TODAY, child, small
from fixtures.writer import EPOCH, GIB, MIB, Image, Locator, dynamic, fixed
from vhdcheck import Finding, check


def found(image: Image, slug: str, target: str = "generic") -> Finding:
    """Return the one finding of a rule."""
    report = check(image.tobytes(), target=target, now=NOW)
    (finding,) = [each for each in report.findings if each.slug == slug]
    return finding


def built(name: str) -> Image:
    """Build a case's image."""
    return next(case for case in CASES if case.name == name).build()


@pytest.mark.parametrize(
    ("timestamp", "cause", "remedy"),
    [
        (TODAY + 7200, "lies in the future", "wait 2 hours"),
        (TODAY + 3600, "lies in the future", "wait 1 hour,"),
        (NOW, "did not subtract the 30 years from 1970 to 2000, and means 2026-01-01 00:00:00 UTC", "set the time"),
        (TODAY + 2 * EPOCH, "added, not subtracted, the 30 years", "set the time"),
        (0xFFFF_FFFF, "lies in the future", "set the time"),
    ],
)
def test_a_time_decades_ahead_is_no_time_to_wait_for(timestamp: int, cause: str, remedy: str) -> None:
    finding = found(small(timestamp=timestamp), "created-in-future")
    assert cause in finding.message
    assert remedy in finding.fix
    assert ("wait" in finding.fix) == (timestamp < TODAY + 86400)


def test_a_parent_s_time_is_a_date() -> None:
    finding = found(child(parent_timestamp=TODAY + 1801), "parent-in-future")
    assert (finding.expected, finding.found) == ("at most 2026-01-01 00:30:00 UTC", "2026-01-01 00:30:01 UTC")


def test_the_byte_that_is_set_is_shown() -> None:
    finding = found(built("stand-alone-with-last-byte-of-name"), "parent-on-stand-alone-disk")
    assert finding.found == "0x01 at byte 511 of the name"


def test_a_truncated_file_lacks_at_least_so_much() -> None:
    finding = found(built("truncated-in-a-block"), "truncated")
    assert "at least" in finding.message
    assert finding.expected.startswith("at least ")


def test_sizes_that_look_alike_begin_with_the_exact_figure() -> None:
    report = check(dynamic(42_951_106_560).tobytes(), target="rackspace", now=NOW)
    (finding,) = [each for each in report.findings if each.slug == "virtual-size-over-limit"]
    assert finding.expected == "at most 42 949 672 960 bytes (40 GiB)"
    assert finding.found == "42 951 106 560 bytes (40 GiB)"


def test_a_footer_with_something_behind_it_says_what_cut_makes_it_whole() -> None:
    image = fixed(3 * MIB)
    image.length += MIB
    finding = found(image, "trailing-bytes")
    assert "the file was enlarged" in finding.message
    assert finding.fix.startswith("cut the file to 3 146 240 bytes, if ")
    assert found(fixed(3 * MIB).append(b"abc"), "trailing-bytes").fix == "cut the file to 3 146 240 bytes"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("batmap-over-the-table-xenserver", "lies over the block allocation table"),
        ("batmap-over-a-block-xenserver", "lies over 1 block"),
        ("batmap-of-1-tib-xenserver", "does not lie inside the file"),
    ],
)
def test_where_a_batmap_lies(name: str, words: str) -> None:
    assert words in found(built(name), "batmap-header", "xenserver").message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("geometry-exceeds-the-table", 'cannot open the image ("Page table too small")'),
        ("geometry-exceeds-the-disk", "of zeros behind its end"),
        ("geometry-exceeds-a-fixed-disk", "beginning with the footer"),
    ],
)
def test_what_qemu_makes_of_a_geometry_that_spans_too_much(name: str, words: str) -> None:
    assert words in found(built(name), "geometry-exceeds-disk").message


def test_a_note_that_needs_no_action_has_no_remedy() -> None:
    image = dynamic(40 * GIB // 10, creator=b"qemu")
    finding = found(image, "creator-not-resizable", "rackspace")
    assert (finding.expected, finding.found, finding.fix) == ("", "", "")


def test_a_path_is_shown_as_it_stands_and_opened_without_its_escapes() -> None:
    hidden = child(locators=[Locator(b"MacX", b"file:///a%1b[2J/parent.vhd")])
    assert "%1b" in found(hidden, "parent-not-ascii").found
    assert found(hidden, "hostile-parent-path").message == "the parent's path holds control characters"


def test_a_room_that_reaches_too_far_says_how_long_it_may_be() -> None:
    finding = found(built("locator-room-over-the-next"), "locator-rooms-overlap")
    assert finding.message == "the room of parent locator 0 reaches into the parent locator 1, and its text does not"
    assert (finding.expected, finding.found) == ("at most 512 bytes", "1024 bytes")
    assert [span.number for span in finding.related] == [1]


def test_which_locators_are_not_followed() -> None:
    alone = found(built("locator-of-wi2k-alone"), "locators-missing")
    assert (alone.message, alone.found) == ("there is no parent locator of a platform that readers follow", "Wi2k")
    none = found(built("locators-missing"), "locators-missing")
    assert (none.message, none.found) == ("there is no parent locator", "none")
