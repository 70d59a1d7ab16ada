"""Who wrote an image, in words: programs, and systems where the tag tells one."""

from __future__ import annotations

import pytest

from fixtures.structures import Footer as Built
from vhdcheck.format import creators
from vhdcheck.format.structures import Footer


def written(**fields: object) -> Footer:
    """Parse a footer with these fields."""
    return Footer.parse(Built(3 << 20, **fields).pack(), 0, "footer")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("creator", "host", "expected"),
    [
        (b"win ", b"Wi2k", "Windows"),
        (b"vpc ", b"Mac ", "Macintosh"),
        (b"*img", b"FBSD", "FreeBSD"),
        (b"vhdt", b"Lnux", "Linux"),
        (b"qemu", b"Wi2k", None),
        (b"vbox", b"Wi2k", None),
        (b"tap", b"", None),
    ],
)
def test_a_system_is_named_where_the_tag_tells_it(creator: bytes, host: bytes, expected: str | None) -> None:
    assert creators.host(written(creator=creator, host=host)) == expected


def test_makevhdx_is_not_qemu_img() -> None:
    qemu = written(creator=b"qem2", creator_version=0x000A0000, host=b"Wi2k")
    assert creators.program(qemu) == "qemu-img with force_size"
    borrowed = written(creator=b"qem2", creator_version=0, host=b"", timestamp=0, original_size=0)
    assert creators.program(borrowed) == "makevhdx"
    assert creators.program(written(creator=b"prog")) is None
