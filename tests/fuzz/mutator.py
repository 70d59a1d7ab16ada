"""Changes to VHD images that keep them well signed: behind a wrong checksum a blind fuzzer finds nothing.

A mutation takes an image and a random generator and returns an image. The positions of fields are the specification's,
written down a second time, like those of `fixtures.structures`.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

from fixtures.structures import QEMU, TAP, Locator, signed
from fixtures.writer import KIB, SECTOR, differencing, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

FOOTER: Final = [(8, 4), (12, 4), (16, 8), (24, 4), (28, 4), (32, 4), (36, 4), (40, 8), (48, 8), (56, 2), (58, 1)]
FOOTER_MORE: Final = [(59, 1), (60, 4), (68, 8), (76, 8), (84, 1), (85, 1), (86, 4), (508, 4)]
HEADER: Final = [(8, 8), (16, 8), (24, 4), (28, 4), (32, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 2), (66, 8)]
LOCATOR: Final = [(0, 4), (4, 4), (8, 4), (12, 4), (16, 8)]
BATMAP: Final = [(8, 8), (16, 4), (20, 4), (24, 4), (28, 1), (29, 1), (30, 8)]
EDGES: Final = [
    *(0, 1, 2, 3, 4, 5, 6, 7, 0x1F, 0x7F, 0x80, 0xFF, 0x100, 511, 512, 513, 1024, 1536, 2048, 4096),
    *(0xFFFF, 0x1_0000, 0x1_0001, 0x1_0002, 0x1_0003, 0x8_0000, 0x20_0000, 0x40_0000, 0x3FFF_FFFF, 0x4000_0000),
    *(0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FE00, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 32, 42_949_672_960, 42_949_672_961),
    *(0xFF00_0000 * 512, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 512, (1 << 64) - 1),
]
WORDS: Final = [
    *(b"conectix", b"cxsparse", b"tdbatmap", b"v_poison", b"W2ru", b"W2ku", b"MacX", b"Mac ", b"Wi2r", b"tap\0"),
    *(b"qemu", b"qem2", b"vpc ", b"win ", b"vbox", b"QFI\xfb", b"\x1b[2J", b"\xd8\0", b"\x20\x2e"),
]
SECTORS_AT_MOST: Final = 40


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """Change an image in one to three places, and mostly sign it again.

    Args:
        data: the image, or any bytes.
        size: bytes that the result may have.
        seed: the same one makes the same change.
    """
    random = Random(seed)
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(_ACTIONS)(changed, random)
    if random.random() < 0.5:
        _copy_footer(changed, random)
    if random.random() < 0.9:
        _sign(changed)
    return bytes(changed[:size])


def _number(image: bytearray, random: Random, size: int) -> bytes:
    value = random.choice((*EDGES, len(image), len(image) - 512, len(image) // 512, random.randrange(SECTORS_AT_MOST)))
    value += random.choice((0, 0, 0, -1, 1))
    return (value & (1 << 8 * size) - 1).to_bytes(size, "big")


def _put(image: bytearray, at: int, data: bytes) -> None:
    if 0 <= at <= len(image) - len(data):
        image[at : at + len(data)] = data


def _header_at(image: bytearray) -> int:
    at = image.find(b"cxsparse")
    return at if at >= 0 else SECTOR


def _table_at(image: bytearray) -> int:
    at = _header_at(image)
    return int.from_bytes(image[at + 16 : at + 24], "big")


def _field(image: bytearray, random: Random) -> None:
    """Set a field, of both footers alike half of the time."""
    places = {"front": 0, "tail": len(image) - SECTOR, "header": _header_at(image), "locator": _header_at(image) + 576}
    places["batmap"] = max(image.find(b"tdbatmap"), 0)
    name = random.choice(("both", "both", *places))
    if name in ("both", "front", "tail"):
        offset, size = random.choice(FOOTER + FOOTER_MORE)
        value = _number(image, random, size)
        for place in ("front", "tail") if name == "both" else (name,):
            _put(image, places[place] + offset, value)
        return
    offset, size = random.choice({"header": HEADER, "locator": LOCATOR, "batmap": BATMAP}[name])
    offset += 24 * random.randrange(8) if name == "locator" else 0
    _put(image, places[name] + offset, _number(image, random, size))


def _entry(image: bytearray, random: Random) -> None:
    """Set an entry of the table, or move it."""
    at = _table_at(image)
    _put(image, at + 4 * random.randrange(12), random.choice((_number(image, random, 4), bytes(image[at : at + 4]))))


def _word(image: bytearray, random: Random) -> None:
    """Write a cookie, a code, a creator, or text that is hostile."""
    header = _header_at(image)
    at = random.choice((0, header, header + 576, len(image) - SECTOR)) + random.choice((0, 28, 64))
    _put(image, at, random.choice(WORDS))


def _flip(image: bytearray, random: Random) -> None:
    if image:
        image[random.randrange(len(image))] ^= 1 << random.randrange(8)


def _cut(image: bytearray, random: Random) -> None:
    count = random.choice((1, 2, 511, 512, 513, 1024, 4096))
    if random.random() < 0.5:
        del image[-count:]
    else:
        del image[:count]


def _insert(image: bytearray, random: Random) -> None:
    """Insert a sector, or another number of bytes: zeros, noise, or a piece of the image."""
    at = random.choice((0, len(image), len(image) - SECTOR, SECTOR * random.randrange(SECTORS_AT_MOST)))
    start = SECTOR * random.randrange(SECTORS_AT_MOST)
    length = random.choice((1, 511, 512, 1024, 3584, 4096))
    at = max(min(at, len(image)), 0)
    image[at:at] = random.choice((bytes(length), random.randbytes(length), bytes(image[start : start + length])))


def _copy_footer(image: bytearray, random: Random) -> None:
    """Make both footers the same, by either."""
    front, tail = bytes(image[:SECTOR]), bytes(image[-SECTOR:])
    if front.startswith(b"conectix") and tail.startswith(b"conectix"):
        if random.random() < 0.5:
            image[:SECTOR] = tail
        else:
            image[-SECTOR:] = front


def _anew(image: bytearray, random: Random) -> None:
    """Begin with another image."""
    entries = random.randint(1, 9)
    size = entries * 4 * KIB - SECTOR * random.randrange(3)
    options: dict[str, Any] = {
        "blocks": random.sample(range(entries), random.randrange(min(entries, 4))),
        "block_size": 4 * KIB,
        "slack": random.choice((0, 0, 512, 3584)),
        "bitmap": random.choice((b"\xff", b"\xf0", b"\0")),
        **random.choice(({}, QEMU, TAP)),
    }
    kind = random.randrange(4)
    if kind == 0:
        made = fixed(size, content=random.choice((b"", b"QFI\xfb", b"conectix")))
    elif kind == 1:
        made = differencing(size, locators=[Locator(b"W2ru", "..\\x.vhd"), Locator(b"MacX", b"file://h/x")], **options)
    else:
        made = dynamic(size, header_offset=random.choice((512, 512, 4096)), table_offset=1536, **options)
    image[:] = made.tobytes()


def _sign(image: bytearray) -> None:
    """Compute the checksums of footers and header anew."""
    for at, length, field in ((0, 512, 64), (len(image) - 512, 512, 64), (_header_at(image), 1024, 36)):
        if 0 <= at <= len(image) - length and bytes(image[at : at + 2]) in (b"co", b"cx"):
            image[at : at + length] = signed(bytes(image[at : at + length]), field)


_ACTIONS: Final[tuple[Callable[[bytearray, Random], None], ...]] = (
    *[_field] * 6,
    *[_entry] * 3,
    *(_word, _flip, _cut, _insert, _copy_footer, _anew),
)
