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
    program = f"import sys\n{code}\nprint(*{{'numpy', 'construct', 'tomllib', 'argparse', 'rich'}} & set(sys.modules))"
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
        ("from vhdcheck import check; check({dynamic!r})", {"construct", "tomllib", "numpy"}),
    ],
)
def test_what_is_imported(code: str, modules: set[str], root: Path) -> None:
    small_fixed, small_dynamic = fixed(4096).tobytes(), dynamic(4096, block_size=512).tobytes()
    line = code.replace("{fixed!r}", repr(small_fixed)).replace("{dynamic!r}", repr(small_dynamic))
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
