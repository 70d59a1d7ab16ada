"""Objects and images in a real Swift: names, segments, changes, and the service on it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from fixtures.writer import MIB, fixed
from tests.tasks.service import TENANT
from tests.tasks.swift import ADMIN, TESTER, swift, token
from tests.tasks.test_names_on_the_wire import NAMES, round_trip, stored, try_
from vhdcheck import check
from vhdcheck.errors import SourceChanged, SourceError, UsageError
from vhdcheck.tasks import objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tasks.service import Service

GOOD = b"".join(number.to_bytes(4, "big") for number in range(12 * MIB // 4)) + fixed(12 * MIB).tobytes()[-512:]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture
def account(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The tenant's account; the service is the administrator of all."""
    from swiftclient import Connection  # type: ignore[import-not-found, import-untyped, unused-ignore]

    for name, value in {"ST_AUTH": f"{url}/auth/v1.0", **ADMIN}.items():
        monkeypatch.setenv(name, value)
    storage = {"object_storage_url": f"{url}/v1/AUTH_{TENANT}"}
    with closing(Connection(f"{url}/auth/v1.0", *ADMIN.values(), os_options=storage)) as client:
        client.put_container("c")
        yield client


def place(url: str) -> str:
    return f"swift+{url}/v1/AUTH_{{tenant}}"


@pytest.mark.parametrize("name", [*NAMES, "a?b#c", "a#1", "a?versionId=x"])
def test_the_path_on_the_wire_is_the_name(url: str, account: Any, name: str, tmp_path: Path) -> None:
    round_trip(objects.of(place(url), TENANT), "c", name, tmp_path)
    assert name in {entry["name"] for entry in account.get_container("c")[1]}
    assert unquote(name) == name or unquote(name) not in {entry["name"] for entry in account.get_container("c")[1]}


@pytest.mark.parametrize("name", ["..", "../AUTH_test/c/x", "a/../../x", "a//b", "."])
def test_no_name_leads_out_of_the_account(url: str, account: Any, name: str, tmp_path: Path) -> None:
    store = objects.of(place(url), TENANT)
    with pytest.raises(objects.NotThere), store.find("c", name, "shown"):
        pass
    with stored(tmp_path, b"x") as file, pytest.raises(objects.NotThere):
        store.put("c", name, file, try_())


def test_what_is_not_there(url: str, account: Any, tmp_path: Path) -> None:
    store = objects.of(place(url), TENANT)
    for container, name in (("c", "none"), ("none", "none")):
        with pytest.raises(objects.NotThere), store.find(container, name, "shown"):
            pass
    with stored(tmp_path, b"x") as file, pytest.raises(objects.NotThere):
        store.put("none", "x", file, try_())


def test_an_object_that_is_replaced_while_it_is_read(url: str, account: Any) -> None:
    account.put_object("c", "changing", GOOD)
    with objects.of(place(url), TENANT).find("c", "changing", "shown") as found:
        pieces = found.pieces()
        assert next(pieces) == GOOD[: 5 * MIB]
        account.put_object("c", "changing", GOOD[::-1])
        with pytest.raises(SourceChanged):
            list(pieces)


def test_a_long_object_is_segments_and_a_manifest(
    url: str, account: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vhdcheck.tasks import swift as driver

    monkeypatch.setattr(driver, "SEGMENT", 5 * MIB)
    store = objects.of(place(url), TENANT)
    with stored(tmp_path, GOOD) as file:
        store.put("c", "long", file, try_())
    assert account.head_object("c", "long")["x-static-large-object"] == "True"
    assert account.get_object("c", "long")[1] == GOOD
    with store.find("c", "long", "shown") as found:
        assert b"".join(found.pieces()) == GOOD
        assert found.judge({"target": "rackspace", "max_virtual_size": None, "max_physical_size": None}).ok
    with stored(tmp_path, GOOD) as file, pytest.raises(objects.Taken):
        store.put("c", "long", file, objects.Try("another", 1, lambda: True))
    segments = [entry["name"] for entry in account.get_container("c_segments")[1]]
    assert segments == [f"{try_().owner}/long/{number:08}" for number in range(3)]
    store.discard("c", try_())  # its worker was killed after all was done
    with stored(tmp_path, GOOD) as file:
        store.put("c", "long", file, try_())  # an answer got lost, and it is asked for again
    assert account.get_object("c", "long")[1] == GOOD
    driver.Swift(place(url).replace("{tenant}", TENANT)).delete("c/long", "nobody")
    assert account.get_container("c_segments")[1] == []
    account.put_object("c_segments", f"{try_().owner}/long/00000000", b"left by a killed worker")
    account.put_object("c_segments", "theirs/long/00000000", b"somebody else's")
    store.discard("c", try_())
    assert [entry["name"] for entry in account.get_container("c_segments")[1]] == ["theirs/long/00000000"]
    account.delete_object("c_segments", "theirs/long/00000000")


def test_what_is_wrong_with_a_place_is_said(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("ST_AUTH", "ST_USER", "ST_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"look like swift\+https://HOST/v1/AUTH_ACCOUNT/CONTAINER"):
        objects.of("swift+https://host/x", "t")
    with pytest.raises(UsageError, match="ST_AUTH"):
        objects.of(place(url), "t")
    for name, value in {"ST_AUTH": f"{url}/auth/v1.0", **TESTER, "ST_KEY": "hunter2"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises((SourceError, objects.NotThere)) as told,
        objects.of(place(url), "t").find("c", "x", "shown"),
    ):
        pass
    assert "hunter2" not in str(told.value)


def test_the_service_on_swift(serve: Callable[..., Service], url: str, account: Any) -> None:
    account.put_object("c", "good", io.BytesIO(GOOD))
    account.put_object("c", "bad", GOOD[:-1])
    account.put_container("receiving")
    kept = f"swift+{url}/v1/AUTH_images"
    from swiftclient import Connection

    storage = {"object_storage_url": kept[6:]}
    with closing(Connection(f"{url}/auth/v1.0", *ADMIN.values(), os_options=storage)) as images:
        images.put_container("kept")
        service = serve("--objects", place(url), "--images", f"{kept}/kept", **{"ST_AUTH": f"{url}/auth/v1.0", **ADMIN})
        done = service.imported("c/good")
        assert done["status"] == "success", done
        image = done["result"]["image_id"]
        assert service.imported("c/bad")["message"][:4] == "396:"
        assert service.imported("c/none")["message"].startswith("Error: Image not found")
        assert service.imported("c/good", token="other")["message"].startswith("Error: Image not found")
        assert images.get_object("kept", f"{image}.vhd")[1] == GOOD
        assert service.exported(image, "receiving")["status"] == "success"
        assert account.get_object("receiving", f"{image}.vhd")[1] == GOOD
        assert service.exported(image, "receiving")["message"].startswith("Swift already has an object with id")
        assert service.exported(image, "nowhere")["message"] == "Container not found. Container: nowhere"
        service.kill()
        service.start()
        assert service.request("DELETE", f"/v2/images/{image}").status == 204
        assert [entry["name"] for entry in images.get_container("kept")[1]] == ["vhdcheck-images.id"]


def test_the_command_checks_an_object_by_its_url(url: str, account: Any) -> None:
    account.put_object("c", "good.vhd", GOOD)
    object_url = f"{url}/v1/AUTH_{TENANT}/c/good.vhd"
    report = check(object_url, storage_options={"headers": {"X-Auth-Token": token(url, ADMIN)}})
    assert report.ok
    headers = json.dumps({"headers": {"X-Auth-Token": token(url, ADMIN)}})
    command = [sys.executable, "-m", "vhdcheck", object_url]
    done = subprocess.run(command, env={**os.environ, "FSSPEC_HTTPS": headers}, capture_output=True, check=False)
    assert done.returncode == 0, done
    with pytest.raises(SourceError, match=r"asks for credentials"):
        check(object_url)
    with pytest.raises(UsageError, match="https://HOST/v1/ACCOUNT/CONTAINER/OBJECT"):
        check(f"swift://{url.removeprefix('http://')}/AUTH_{TENANT}/c/good.vhd")
