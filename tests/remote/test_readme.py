"""The documents' programs for URLs and stores run as they are printed; only the addresses are this machine's."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    from tests.remote.server import Server
    from tests.remote.stores import Served

pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")

# Clients of other makers, which deprecate things of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

ROOMS = Path(__file__).parents[2] / "vhdcheck"
README = "".join((ROOMS / room / "README.md").read_text(encoding="utf-8") for room in ("engine", "sources"))


def run(beginning: str, address: str, here: str) -> dict[str, Any]:
    """Run the program of README that begins so, with an address of this machine in place of the printed one."""
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if code.startswith(beginning))
    assert address in code
    names: dict[str, Any] = {}
    exec(code.replace(address, here), names)  # noqa: S102 (README's own code)
    return names


def test_a_stored_object(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.put("disk.vhd", dynamic(40 * GIB, blocks=range(3)))
    names = run("from vhdcheck import acheck", "https://images.example.org/disk.vhd?sig=...", url)
    assert capsys.readouterr().out == "accepted 3 87552\n"
    assert asyncio.run(names["judge"](url)) == "accepted"
    assert asyncio.run(names["judge"](server.put("bad.vhd", dynamic(41 * GIB)))).startswith("413: ")


def test_a_folder_of_a_store(s3: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setitem(fsspec.config.conf, "s3", json.loads(json.dumps(s3.options)))
    for number in range(3):
        s3.put(f"readme/{number}.vhd", fixed((4 + number) * MIB).tobytes())
    run("from concurrent.futures", "s3://bucket/images/", "s3://images/readme/")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == [f"s3://images/readme/{number}.vhd: accepted" for number in range(3)]
