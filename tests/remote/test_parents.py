"""Parents behind URLs: a chain over HTTP and S3 is judged as the same chain in files."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.recipes import NOW
from tests.chains.chain import written
from vhdcheck import SourceError, acheck, check

if TYPE_CHECKING:
    from pathlib import Path


pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(params=["http", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any], list[Path]]:
    """Where the chain is, how to come there, and the same in files."""
    paths = written(tmp_path, 2, 1).paths
    if request.param == "http":
        server = request.getfixturevalue("server")
        for path in paths:
            server.put(f"chain/{path.name}", path.read_bytes())
        return f"{server.url}/chain", {}, paths
    s3 = request.getfixturevalue("s3")
    for path in paths:
        s3.put(f"chain/{path.name}", path.read_bytes())
    return "s3://images/chain", s3.options, paths


def test_a_chain(place: tuple[str, dict[str, Any], list[Path]]) -> None:
    where, options, (base, middle, last) = place
    urls = [f"{where}/{path.name}" for path in (base, middle)]
    given: dict[str, Any] = {"target": "generic", "now": NOW}
    expected = check(last, parents=[base, middle], **given)
    assert expected.chain is not None
    assert expected.chain.end == "whole"
    for image in (f"{where}/{last.name}", last):
        for report in (
            check(image, parents=urls, storage_options=options, **given),
            asyncio.run(acheck(image, parents=urls, storage_options=options, **given)),
        ):
            assert report.chain is not None
            assert report.chain.end == "whole"
            assert [parent.name for parent in report.chain.parents] == [*reversed(urls)]
            assert [each.rule for each in report.findings] == [each.rule for each in expected.findings]
    mixed = check(f"{where}/{last.name}", parents=[base, urls[1]], storage_options=options, **given)
    assert mixed.chain is not None
    assert mixed.chain.end == "whole"
    with pytest.raises(SourceError, match=r"none\.vhd: not found"):
        check(last, parents=[f"{where}/none.vhd"], storage_options=options, **given)


def test_the_command(place: tuple[str, dict[str, Any], list[Path]], root: Path) -> None:
    where, options, (base, middle, last) = place
    command = [sys.executable, "-m", "vhdcheck", f"{where}/{last.name}", "--target", "generic", "--format", "json"]
    ways = [["--parent", f"{where}/{base.name}", "--parent", f"{where}/{middle.name}"]]
    if where.startswith("s3:"):
        ways.append(["--parents", f"{where}/"])
    for words in ways:
        environment = {**os.environ, "FSSPEC_S3": json.dumps(options)}
        done = subprocess.run(
            [*command, *words], cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr == ""
        (report,) = json.loads(done.stdout)["reports"]
        assert report["chain"]["end"] == "whole"
        assert len(report["chain"]["parents"]) == 2
