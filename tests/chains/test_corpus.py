"""Children by Windows, VirtualBox and blktap with their parents: other readers see what we put together."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from shutil import copyfile, which

import pytest

from fixtures.writer import SECTOR
from vhdcheck import Parents, check
from vhdcheck.mend import mend

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not here")

BY_BLKTAP = "made/vhd-util/parent2.vhd"
CHAINS = (
    ("made/vbox/vboxmanage-child.vhd", "made/vbox/vboxmanage-parent.vhd"),
    ("made/vhd-util/child-abs.vhd", BY_BLKTAP),
    ("made/vhd-util/child.vhd", BY_BLKTAP),
    ("made/vhd-util/grandchild.vhd", BY_BLKTAP),
    ("real/dfvfs/fat-differential.vhd", "real/dfvfs/fat-parent.vhd"),
    ("made/dosbox-x/vchild.vhd", "made/dosbox-x/vdyn10.vhd"),
)


@pytest.mark.parametrize(("child", "parent"), CHAINS)
def test_real_chains(child: str, parent: str, tmp_path: Path) -> None:
    """A chain is sound, has one verdict for a target that takes none, and becomes a disk that passes."""
    path, given = CORPUS / child, [CORPUS / parent]
    for target, code in (("generic", None), ("rackspace", 721)):
        report = check(path, parents=given, target=target, now=1_830_000_000)
        assert report.chain is not None
        assert (report.chain.is_sound, report.code) == (True, code)
    result = mend(path, tmp_path / "out.vhd", parents=given, target="generic", now=1_830_000_000)
    assert result.reasons == ()
    footer = result.before.image.footer
    assert footer is not None
    if path.name != "fat-differential.vhd":  # of its bitmap some bytes are neither 0 nor 255: by 7-Zip below
        assert result.sha256 == _read(path, given[0], footer.current_size)


def _read(child: Path, parent: Path, size: int) -> str:
    """Sum a chain of two by libvhdi, sector by sector."""
    pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed (extra test-ci)")
    upper, lower = pyvhdi.file(), pyvhdi.file()
    lower.open(str(parent))
    upper.open(str(child))
    upper.set_parent(lower)
    total = hashlib.sha256()
    for at in range(0, size, SECTOR):
        total.update(upper.read_buffer_at_offset(min(SECTOR, size - at), at))
    return total.hexdigest()


@pytest.mark.skipif(which("7zz") is None, reason="7zz is not on PATH")
def test_a_child_by_windows_as_7zip_sees_it(tmp_path: Path) -> None:
    for name in ("fat-differential.vhd", "fat-parent.vhd"):
        copyfile(CORPUS / "real" / "dfvfs" / name, tmp_path / name)
    result = mend(
        tmp_path / "fat-differential.vhd", tmp_path / "out.vhd", target="generic", parents=[tmp_path / "fat-parent.vhd"]
    )
    command = ["7zz", "e", "-tvhd", "-so", str(tmp_path / "fat-differential.vhd")]
    read = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    assert result.sha256 == hashlib.sha256(read).hexdigest()


def test_a_folder_of_strangers_is_no_parent() -> None:
    """Copies of one image cannot be told apart, and a damaged parent is told."""
    family = Parents()
    family.add_folder(CORPUS)
    for child, slug in (
        ("real/go-vhd/win8-child.vhd", "parent-id-twice"),
        ("real/dfvfs/image-differential.vhd", "parent-refused"),
        ("made/vhd-util/child-rawparent.vhd", "parent-missing"),
    ):
        assert slug in {finding.slug for finding in check(CORPUS / child, parents=family).findings}
