"""A dask cluster that asks for certificates: the service has one and is let in, whoever has none is not."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, fixed
from tests.helpers import LOGS, begun, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.tasks.service import Service

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]
ROOT = Path(__file__).resolve().parents[2]
COMM = "DASK_DISTRIBUTED__COMM__"


@pytest.fixture
def identity(tmp_path: Path) -> dict[str, str]:
    """The environment of those who have the certificate, as the README names it."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    subprocess.run(
        [*request, "-subj", "/CN=cluster", "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    return {
        f"{COMM}TLS__CA_FILE": str(certificate),
        **{f"{COMM}TLS__{who}__CERT": str(certificate) for who in ("CLIENT", "SCHEDULER", "WORKER")},
        **{f"{COMM}TLS__{who}__KEY": str(key) for who in ("CLIENT", "SCHEDULER", "WORKER")},
    }


@pytest.fixture
def address(tmp_path: Path, identity: dict[str, str]) -> Iterator[str]:
    """Where the scheduler of a cluster with one worker is."""
    environment = {**os.environ, **identity, "PYTHONPATH": str(ROOT), "DASK_LOGGING__DISTRIBUTED": "info"}
    started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(kind: str, told: str, *words: str) -> str:
        log = tmp_path / f"{kind}.log"
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *words]
        process = begun(command, log, cwd=tmp_path, env=environment)
        started.append((process, log))
        return until(lambda: re.search(told, log.read_text()), process, log)[1]

    try:
        scheduler = ("--protocol", "tls", "--host", "127.0.0.1", "--port", "0")
        found = start("scheduler", r"Scheduler at: +tls://(\S+)", *scheduler)
        start(
            "worker", "(Registered to)", f"tls://{found}", "--no-nanny", "--nthreads", "1", "--host", "tls://127.0.0.1"
        )
        yield found
    finally:
        for process, log in started:
            process.kill()
            process.wait()
            LOGS.pop(log, None)


def test_a_cluster_that_asks_for_certificates(
    serve: Callable[..., Service], address: str, identity: dict[str, str]
) -> None:
    service = serve("--executor", f"dask+tls://{address}", **identity)
    service.put("exports/good", fixed(MIB).tobytes())
    assert service.imported("exports/good")["status"] == "success"
    service.stop()
    for scheme, said in (("dask", "cannot reach the scheduler"), ("dask+tls", "no certificate: set DASK_DISTRIBUTED")):
        with pytest.raises(AssertionError, match=said) as caught:
            serve("--executor", f"{scheme}://{address}", **{f"{COMM}TIMEOUTS__CONNECT": "2s"})
        assert "Traceback" not in str(caught.value)
