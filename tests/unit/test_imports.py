"""`import vhdcheck` costs nothing but what is used: construct with the first structure, numpy with the first table."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import vhdcheck
from fixtures.writer import MIB, dynamic, fixed

if TYPE_CHECKING:
    from pathlib import Path


def loaded_after(code: str, root: Path) -> set[str]:
    """Run a line in a new interpreter, and return which of the heavy modules it loaded."""
    program = f"import sys\n{code}\nprint(*{{'numpy', 'construct', 'tomllib', 'argparse', 'tqdm'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import vhdcheck", set()),
        ("import vhdcheck; vhdcheck.UsageError; vhdcheck.Code; vhdcheck.__version__; dir(vhdcheck)", set()),
        ("from vhdcheck import check; check(b'text', target='generic')", {"construct", "tomllib"}),
        ("from vhdcheck import check, Target; check({fixed!r}, target=Target('mine'))", {"construct"}),
        ("from vhdcheck import check; check({fixed!r})", {"construct", "tomllib"}),
        ("from vhdcheck import check; check({dynamic!r})", {"construct", "tomllib"}),
        ("from vhdcheck import check; check({dynamic!r}, deep=True)", {"construct", "tomllib", "numpy"}),
        ("from vhdcheck import check; check({damaged!r})", {"construct", "tomllib", "numpy"}),
    ],
)
def test_what_is_imported(code: str, modules: set[str], root: Path) -> None:
    damaged = dynamic(4096, block_size=512)
    damaged.put(1536, bytes(4))  # the first block over the footer's copy
    images = {"fixed": fixed(4096), "dynamic": dynamic(4096, block_size=512), "damaged": damaged}
    line = code
    for name, image in images.items():
        line = line.replace(f"{{{name}!r}}", repr(image.tobytes()))
    assert loaded_after(line, root) == modules


def test_the_public_names() -> None:
    for name in vhdcheck.__all__:
        assert getattr(vhdcheck, name).__name__ == name
    assert set(vhdcheck.__all__) <= set(dir(vhdcheck))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vhdcheck.nothing  # type: ignore[attr-defined, unused-ignore]


def test_the_docstrings_examples() -> None:
    report = vhdcheck.check(b"not a disk image")
    assert (report.ok, report.message) == (False, "396: The image cannot be imported. The file is not a valid VHD.")
    assert vhdcheck.check(dynamic(10 * MIB).tobytes()).ok


DEFERRED = """
import sys
from vhdcheck.command.deferred import deferred
with deferred("pdb", "platform", "colorsys"):
    import colorsys, pdb, platform
    from platform import system
print(*sorted({"pdb", "platform", "colorsys"} & set(sys.modules)))
print(system() == __import__("platform").system(), colorsys.rgb_to_hsv(1, 1, 1), pdb.Pdb.__name__)
import colorsys as loaded
print(loaded is not colorsys, loaded.rgb_to_hsv is colorsys.rgb_to_hsv)
with deferred("colorsys"):
    import colorsys as again
print(again is loaded)
try:
    colorsys.nothing
except AttributeError as error:
    print(error)
"""


def test_a_deferred_module_is_loaded_once_it_is_used(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEFERRED], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "",
        "True (0.0, 0.0, 1) Pdb",
        "True True",
        "True",
        "module 'colorsys' has no attribute 'nothing'",
    ]
