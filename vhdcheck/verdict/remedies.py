"""The commands that remedies are made of, and how one is fitted to an image and a target.

`{in}`, `{in_option}` and `{out}` stand for the file names; the report puts them in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck import targets
from vhdcheck.format.geometry import chs_size_down, chs_size_up
from vhdcheck.format.structures import COOKIE, FIXED, Footer
from vhdcheck.units import grouped

if TYPE_CHECKING:
    from vhdcheck.image import Image
    from vhdcheck.targets import Target

MEND: Final = "python -m vhdcheck.mend {in} -o {out}"
REBUILD: Final = (
    "qemu-img convert --image-opts driver=vpc,force_size_calc=current_size,file.filename={in_option} -O vpc {out}"
)
_TO_RAW: Final = (
    "qemu-img convert --image-opts driver=vpc,force_size_calc=current_size,file.filename={in_option} -O raw disk.raw"
)
SHRINK: Final = (
    _TO_RAW + " && qemu-img resize -f raw --shrink disk.raw {size} && qemu-img convert -f raw -O vpc disk.raw {out}"
)
TO_FIXED: Final = (
    _TO_RAW + " && qemu-img resize -f raw disk.raw {size}"
    " && qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on disk.raw {out}"
)
_FOOTERS_FIRST: Final = (
    f"qemu-img does not open the image as it is. Put its footers right, then check the copy: `{MEND}`"
)
_ASK_AGAIN: Final = "ask for the image again: no footer of it is intact, so no reader opens it"


def fitted(fix: str, image: Image, target: Target) -> str:
    """Fit a remedy to an image and a target, so that its command can work.

    Args:
        fix: the remedy, with commands of this module.
        image: what is known of the image.
        target: what it is judged for.
    """
    if REBUILD in fix and image.footer is not None:
        if not _is_opened_by_qemu(image):
            fix = _FOOTERS_FIRST if any(map(_is_intact, (image.tail, image.copy, image.footer))) else _ASK_AGAIN
        else:
            fix = _within_the_limit(fix, image.footer.current_size, target)
    return fix.replace(MEND, MEND.replace(" {in}", f"{_option(target)} {{in}}"))


def _is_intact(footer: Footer | None) -> bool:
    return footer is not None and footer.cookie == COOKIE and footer.checksum == footer.computed_checksum


def _is_opened_by_qemu(image: Image) -> bool:
    """Say whether the footer that qemu reads is intact: a fixed disk's at the end, or else the copy."""
    assert image.footer is not None  # the caller has one
    return _is_intact(image.tail if image.footer.disk_type == FIXED else image.copy)


def _within_the_limit(fix: str, size: int, target: Target) -> str:
    """Shrink a disk first that qemu-img would round up to more than the target accepts."""
    limit = target.max_virtual_size
    if limit is None or not size <= limit < chs_size_up(size):
        return fix
    down = chs_size_down(limit)
    return (
        f"a rebuilt disk would be rounded up to {grouped(chs_size_up(size))} bytes, over the limit. Make the guest's"
        f" partitions end before {grouped(down)} bytes, then: `{SHRINK.replace('{size}', str(down))}`"
    )


def _option(target: Target) -> str:
    """Name the target to a command; one that has no name there is left to the format alone."""
    if target.name not in targets.names() or target != targets.load(target.name):
        return " --target generic"
    return "" if target.name == targets.DEFAULT else f" --target {target.name}"
