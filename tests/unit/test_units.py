from __future__ import annotations

import pytest

from vhdcheck.errors import UsageError
from vhdcheck.units import GIB, KIB, MIB, count, exact, grouped, human, limit_words, parse_size, round_up


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("42949672960", 42_949_672_960),
        ("40GiB", 40 * GIB),
        ("40GB", 40 * GIB),  # as the task API's "40GB limit" is meant, and qemu-img reads it
        ("40G", 40 * GIB),
        ("40g", 40 * GIB),
        ("40 gib", 40 * GIB),
        ("  1.5 TiB ", 1536 * GIB),
        ("0.5k", 512),
        ("512b", 512),
        ("512B", 512),
        ("1.25MiB", 5 * MIB // 4),
        ("1048576", MIB),
        (0, 0),
        (7, 7),
        (1 << 70, 1 << 70),
    ],
)
def test_parse_size(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "GiB", "-1", "+1", "1e9", "0x10", "1,000", "1 000", "1.", ".5", "1PiB", "1 G i B", "40GiBs", "1\n2", "٤"],
)
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["1", "40", "160", " 512 ", "1048575"])
def test_parse_size_asks_for_a_unit(text: str) -> None:
    with pytest.raises(UsageError, match="without a unit"):
        parse_size(text)
    assert parse_size(f"{text.strip()}B") == int(text)


def test_parse_size_refuses_what_is_no_whole_number_of_bytes() -> None:
    with pytest.raises(UsageError, match="whole number"):
        parse_size("0.3k")
    with pytest.raises(UsageError, match="whole number"):
        parse_size("1.5")


def test_parse_size_refuses_negative_numbers_and_other_types() -> None:
    with pytest.raises(UsageError, match="negative"):
        parse_size(-1)
    for value in (True, 1.5, None, b"1"):
        with pytest.raises(UsageError):
            parse_size(value)  # type: ignore[arg-type]


def test_parse_size_does_not_compute_with_endless_digits() -> None:
    with pytest.raises(UsageError):
        parse_size("9" * 100_000)


@pytest.mark.parametrize(
    "size", [0, 1, 511, 512, 1023, 1024, MIB, 3 * MIB + 512, 40 * GIB, 42_949_017_600, (1 << 64) - 1]
)
def test_what_is_written_exactly_reads_back(size: int) -> None:
    words = exact(size)
    digits = words.partition("(")[2].partition(" bytes")[0] or words.partition(" byte")[0]
    assert parse_size(digits.replace("\u202f", "").replace(" ", "") + "B") == size


@pytest.mark.parametrize("size", [1, 512, KIB, 3 * MIB, 40 * GIB, 160 * GIB, 2040 * GIB])
def test_limit_words_read_back(size: int) -> None:
    words = limit_words(size)
    assert parse_size(words.replace("-byte", "B")) == size


def test_limit_words() -> None:
    assert limit_words(40 * GIB) == "40GB"
    assert limit_words(512 * MIB) == "512MB"
    assert limit_words(1536 * MIB) == "1536MB"
    assert limit_words(3 * KIB) == "3KB"
    assert limit_words(1000) == "1000-byte"


def test_human() -> None:
    assert human(0) == "0 bytes"
    assert human(1) == "1 byte"
    assert human(1023) == "1023 bytes"
    assert human(1024) == "1 KiB"
    assert human(3 * MIB // 2) == "1.5 MiB"
    assert human(40 * GIB) == "40 GiB"
    assert human(2040 * GIB) == "2040 GiB"


def test_exact() -> None:
    assert exact(3 * MIB // 2) == "1.5 MiB (1 572 864 bytes)"
    assert exact(512) == "512 bytes"


def test_numbers_in_words() -> None:
    assert grouped(42_949_672_960) == "42 949 672 960"
    assert count(1, "block") == "1 block"
    assert count(0, "block") == "0 blocks"
    assert count(12_345, "block") == "12 345 blocks"


def test_round_up() -> None:
    assert [round_up(number, 512) for number in (0, 1, 511, 512, 513, 1 << 64)] == [0, 512, 512, 512, 1024, 1 << 64]


@pytest.mark.parametrize(
    ("size", "beside", "words"),
    [
        (42_951_106_560, 40 * GIB, "42 951 106 560 bytes (40 GiB)"),
        (40 * GIB, 42_951_106_560, "42 949 672 960 bytes (40 GiB)"),
        (40 * GIB, 40 * GIB, "40 GiB (42 949 672 960 bytes)"),
        (40 * GIB, 41 * GIB, "40 GiB (42 949 672 960 bytes)"),
        (100, 101, "100 bytes"),
    ],
)
def test_the_exact_figure_comes_first_where_rounding_hides_the_difference(size: int, beside: int, words: str) -> None:
    assert exact(size, beside) == words
