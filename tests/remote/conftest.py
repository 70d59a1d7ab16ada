"""Servers of this machine, started for the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.remote.server import Listener, Server
from tests.remote.stores import AZURE_LOGIN, Azurite, Served, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def server() -> Iterator[Server]:
    """An HTTP server of this test's own."""
    ours = Server()
    with Listener(ours) as listener:
        listener.thread.start()
        yield ours
        listener.shutdown()
        listener.thread.join()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    log = tmp_path_factory.mktemp("moto") / "log"
    run = "from moto.server import main; main()"
    with started([sys.executable, "-c", run, "-H", "127.0.0.1", "-p", "0"], log, r"Running on (http://\S+)") as url:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "hunter2", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=url, **keys)
        client.create_bucket(Bucket="images")
        options = {"key": "testing", "secret": "hunter2", "endpoint_url": url}

        def put(name: str, data: bytes) -> None:
            client.put_object(Bucket="images", Key=name, Body=data)

        yield Served("s3", options, log, put)
        client.close()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Azurite:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm, which installs Azurite, is not installed")
    folder = tmp_path_factory.mktemp("azurite")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "azurite@3"]
    try:
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm cannot install Azurite in two minutes")
    if done.returncode:
        pytest.skip(f"npm cannot install Azurite: {' '.join(done.stderr.split())[-300:]}")
    return Azurite(node, folder)


@pytest.fixture(scope="session")
def azure(azurite: Azurite) -> Iterator[Served]:
    pytest.importorskip("adlfs", reason="adlfs is not installed")
    blobs = pytest.importorskip("azure.storage.blob", reason="azure-storage-blob is not installed")
    with azurite.serving("blob") as url:
        login = f"{AZURE_LOGIN}BlobEndpoint={url};"
        connect: Callable[..., Any] = blobs.ContainerClient.from_connection_string
        with connect(login, "images") as container:
            container.create_container()

            def put(name: str, data: bytes) -> None:
                container.upload_blob(name, data, overwrite=True)

            yield Served("az", {"connection_string": login}, azurite.log("blob"), put)


@pytest.fixture(params=["s3", pytest.param("azure", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> Served:
    """One store after the other; Azurite takes half a minute to install."""
    served: Served = request.getfixturevalue(request.param)
    return served


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # it speaks gRPC to find zonal buckets; emulators do not
    pytest.importorskip("gcsfs", reason="gcsfs is not installed")
    pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")
    log = tmp_path_factory.mktemp("gcs") / "log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "images"]
    with started([sys.executable, "-m", "gcp_storage_emulator", *flags], log, "(?i)(started|running|listening)"):
        url = f"http://127.0.0.1:{port}"

        def put(name: str, data: bytes) -> None:
            path = f"{url}/upload/storage/v1/b/images/o?uploadType=media&name={quote(name, safe='')}"
            with urlopen(Request(path, data, method="POST")) as answer:  # noqa: S310 (of this machine)
                answer.read()

        yield Served("gs", {"endpoint_url": url, "token": "anon"}, log, put)
