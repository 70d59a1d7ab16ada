"""The OpenAPI document: valid, true, and no request that it leads to ends in 500."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, fixed

if TYPE_CHECKING:
    from tests.tasks.service import Service

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "25")


def test_no_request_ends_in_500_nor_otherwise_than_described(service: Service, tmp_path: Path) -> None:
    service.imported(service.put("exports/a.vhd", fixed(MIB).tobytes()))
    checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "unsupported_method",
        "ignored_auth",
    ]
    command: list[str | Path] = [
        Path(sys.executable).parent / "schemathesis",
        "run",
        f"{service.url}/openapi.json",
        *("--header", "X-Auth-Token: tok"),
        *("--checks", ",".join(checks)),
        *("--max-examples", EXAMPLES),
        *("--seed", "1"),
        *("--phases", "examples,coverage,fuzzing"),
        "--no-color",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "a request failed" not in service.log
    assert service.get("/healthz").status == 200
