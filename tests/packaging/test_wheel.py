"""The wheel: what is in it, what it says of itself, and that it works from where it is unpacked."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

import vhdcheck
from fixtures.writer import MIB, dynamic
from vhdcheck import targets

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    """The wheel's files, as an installation has them."""
    folder = wheel.with_name("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> Message:
    """What the wheel says of itself."""
    (folder,) = unpacked.glob("*.dist-info")
    return email.message_from_bytes((folder / "METADATA").read_bytes())


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """The table [project]."""
    table: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def test_the_wheel_is_for_every_system(wheel: Path) -> None:
    assert wheel.name == f"vhdcheck-{vhdcheck.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 500_000


def test_the_same_sources_give_the_same_bytes(
    wheel: Path, root: Path, tmp_path: Path, build_wheel: Callable[[Path], Path]
) -> None:
    """Whatever the folder is called, when its files were written, and who may read them."""
    copy = shutil.copytree(
        root, tmp_path / "elsewhere", ignore=shutil.ignore_patterns(".venv", ".git", "build", ".*_cache")
    )
    for path in copy.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    assert build_wheel(copy).read_bytes() == wheel.read_bytes()


def test_nothing_is_packed_that_should_not_be(wheel: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_wheel_contents", str(wheel)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"{wheel}: OK")


def test_all_of_the_package_and_nothing_else(unpacked: Path, root: Path) -> None:
    source = {
        path.relative_to(root).as_posix()
        for path in (root / "vhdcheck").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert source >= {
        "vhdcheck/py.typed",
        "vhdcheck/targets/azure.toml",
        "vhdcheck/report/schemas/report-v2.schema.json",
    }
    packed = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    about = f"vhdcheck-{vhdcheck.__version__}.dist-info"
    assert {name for name in packed if not name.startswith(f"{about}/")} == source
    assert f"{about}/licenses/LICENSE" in packed
    entry_points = (unpacked / about / "entry_points.txt").read_text(encoding="utf-8")
    assert entry_points.splitlines() == [
        "[console_scripts]",
        "vhdcheck = vhdcheck.__main__:command",
        "vhdcheck-mend = vhdcheck.mend.__main__:main",
        "vhdcheck-tasks = vhdcheck.tasks.__main__:main",
        "",
        "[glance.image_import.plugins]",
        "vhdcheck = vhdcheck.glance:get_flow",
    ]


def test_metadata(metadata: Message, project: dict[str, Any], root: Path) -> None:
    assert metadata["Name"] == "vhdcheck"
    assert metadata["Version"] == vhdcheck.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"] == project["description"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode() == (root / "README.md").read_text(encoding="utf-8")
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


def test_construct_numpy_and_tqdm_are_all_it_needs(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(needed) == ["construct<2.11,>=2.10.70", "numpy<3,>=1.26", "tqdm<5,>=4.66"]


def test_it_works_from_where_it_is(unpacked: Path, tmp_path: Path) -> None:
    """Every target loads, schema and style are found, in an interpreter that cannot see the sources."""
    dynamic(20 * MIB, blocks=[0]).write(tmp_path / "good.vhd")
    script = f"""
import importlib.resources, json, sys
sys.path.insert(0, {str(unpacked)!r})
import vhdcheck
from vhdcheck import check, targets
assert vhdcheck.__file__.startswith({str(unpacked)!r}), vhdcheck.__file__
json.loads((importlib.resources.files("vhdcheck") / "report" / "schemas" / "report-v2.schema.json").read_text())
assert (importlib.resources.files("vhdcheck.report") / "style.css").read_text()
print(*(f"{{name}}={{check('good.vhd', target=name).ok}}" for name in targets.names()))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [f"{name}={name != 'azure'}" for name in targets.names()]
