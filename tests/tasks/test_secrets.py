"""Stores that tell what they were asked, and how: nothing of it is in a log line, a row, an answer or a page."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.remote.conftest import server  # noqa: F401 (a fixture)
from tests.remote.test_leaks import KEY, PASSWORD, QUERIES, USER, assert_clean, echo, garbage, signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.remote.server import Server
    from tests.tasks.service import Service

LOGIN = f"{USER}:{PASSWORD}@"


def everything(service: Service, *answers: str) -> str:
    """All that the service wrote: its log, its data, and its answers."""
    files = [path for path in service.folder.rglob("*") if path.is_file() and path.name != "tokens.toml"]
    return "\n".join([*answers, *(path.read_bytes().decode("latin-1") for path in files)])


def tried(service: Service, task: str) -> None:
    """Wait for a task; see that nothing of a secret is anywhere."""
    done = service.wait(task)
    assert done["status"] == "failure"
    answers = [service.get(path).text for path in (f"/v2/tasks/{task}", "/v2/tasks", f"/v2/tasks/{task}/report")]
    page = service.get(f"/v2/tasks/{task}", headers={"Accept": "text/html"}).text
    assert_clean(everything(service, *answers, page))


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.parametrize("way", ["s3", "az", "http", "swift", "nowhere"])
def test_a_store_that_tells(way: str, level: str, serve: Callable[..., Service], server: Server) -> None:  # noqa: F811
    pytest.importorskip({"s3": "s3fs", "az": "adlfs", "swift": "swiftclient"}.get(way, "aiohttp"))
    settings, place = {}, f"http://{LOGIN}{server.url.removeprefix('http://')}/c/{{tenant}}"
    if way == "s3":
        settings = {"FSSPEC_S3_KEY": "AKIAtok3n", "FSSPEC_S3_SECRET": KEY, "FSSPEC_S3_ENDPOINT_URL": server.url}
        place = "s3://images/{tenant}"
    elif way == "az":
        login = f"AccountName=acc;AccountKey={KEY};BlobEndpoint={server.url}/acc;"
        settings, place = {"AZURE_STORAGE_CONNECTION_STRING": login}, "az://images/{tenant}"
    elif way == "swift":
        place = f"swift+http://{LOGIN}{server.url.removeprefix('http://')}/v1/AUTH_{{tenant}}"
        settings = {"ST_AUTH": f"{server.url}/auth/v1.0", "ST_USER": "johnd@e", "ST_KEY": "hunt/er2"}
    elif way == "nowhere":
        place = f"http://{LOGIN}127.0.0.1:1/c/{{tenant}}"
    server.before = echo(403 if way == "az" else 400, "application/xml")
    service = serve("--objects", place, "--log-level", level, **settings)
    task = service.create("import", {"import_from": "exports/a.vhd"})
    tried(service, task)
    if way != "nowhere":
        assert server.asked
        if way in ("http", "s3"):  # the others try again for long
            server.before = garbage
            tried(service, service.create("import", {"import_from": "exports/b.vhd"}))


def test_a_url_in_a_task(serve: Callable[..., Service]) -> None:
    service = serve("--log-level", "debug")
    url = signed("https://host/c/image.vhd", QUERIES["aws4"])
    answers = []
    for kind, given in (
        ("import", {"import_from": url}),
        ("import", {"import_from": "exports/none.vhd", "image_properties": {"name": url}}),
        ("import", {"import_from": "exports/none.vhd", "more": [{"deep": url, url: 1}]}),
        ("export", {"image_uuid": url, "receiving_swift_container": url}),
    ):
        answer = service.request("POST", "/v2/tasks", {"type": kind, "input": given})
        answers.append(answer.text)
        assert answer.status == 201
        task = service.wait(answer.json["id"])
        assert "host/c/image.vhd?***" in str(task["input"])
        tried(service, answer.json["id"])
    service.get(f"/v2/tasks?token={QUERIES['token']}")
    service.get(f"/v2/{url}")
    assert_clean(everything(service, *answers))


@pytest.mark.parametrize(
    "words",
    [
        ["--database", f"postgresql://{LOGIN}127.0.0.1:1/tasks"],
        ["--database", f"mysql://{LOGIN}127.0.0.1:1/tasks"],
        ["--database", f"postgresql://{LOGIN}127.0.0.1:port/tasks"],
        ["--images", f"swift+https://{LOGIN}host/nothing"],
        ["--images", f"s3://{LOGIN}bucket/x"],
        ["--images", f"nobody://{LOGIN}bucket/x"],
        ["--images", f"http://{LOGIN}127.0.0.1:1/x"],
        ["--keystone", f"ftp://{LOGIN}host"],
        ["--workers", f"https://{LOGIN}host"],
        ["--target", f"https://{LOGIN}host"],
        ["--executor", f"dask://{LOGIN}127.0.0.1:1"],
        ["--config", f"https://{LOGIN}host"],
        [f"https://{LOGIN}host"],
    ],
)
def test_settings_that_are_wrong(words: list[str], tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "vhdcheck.tasks", "serve", "--port", "0", "--data", "data", *words]
    environment = {**os.environ, "PYTHONPATH": str(root), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode != 0
    assert_clean(done.stdout + done.stderr)


def test_a_password_that_postgresql_refuses(postgres: str, tmp_path: Path, root: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    url = postgres.replace("://tasks@", f"://{LOGIN}")
    command = [sys.executable, "-m", "vhdcheck.tasks", "serve", "--port", "0", "--data", "data", "--database", url]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "role" in done.stderr
    assert_clean(done.stdout + done.stderr)
