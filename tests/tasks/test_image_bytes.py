"""Images over HTTP: their bytes, ranges of them, deletion, and how many a tenant may keep."""

from __future__ import annotations

import hashlib
import http.client
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tasks.service import Service

GOOD = b"".join(number.to_bytes(4, "big") for number in range(6 * MIB // 4)) + fixed(6 * MIB).tobytes()[-512:]


def ask(
    service: Service, image: str, method: str = "GET", token: str = "tok", **headers: str
) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", f"/v2/images/{image}/file", headers={"X-Auth-Token": token, **names})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data


@pytest.fixture(scope="module")
def image(service: Service) -> str:
    return str(service.imported(service.put("exports/good", GOOD))["result"]["image_id"])


def test_an_image_comes_back_as_it_was(service: Service, image: str) -> None:
    status, headers, data = ask(service, image)
    assert (status, data) == (200, GOOD)
    assert headers["content-length"] == str(len(GOOD))
    assert headers["content-type"] == "application/octet-stream"
    assert headers["accept-ranges"] == "bytes"
    assert headers["etag"] == f'"{hashlib.sha256(GOOD).hexdigest()}"'
    assert ask(service, image.upper())[2] == GOOD
    assert ask(service, image, token="reader")[2] == GOOD


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-511", 0, 512),
        ("bytes=0-0", 0, 1),
        ("bytes=5242879-5242880", 5 * MIB - 1, 5 * MIB + 1),
        ("bytes=6291456-", 6 * MIB, len(GOOD)),
        ("bytes=-512", 6 * MIB, len(GOOD)),
        ("bytes=-99999999", 0, len(GOOD)),
        ("bytes=100-99999999", 100, len(GOOD)),
        ("bytes=0-", 0, len(GOOD)),
    ],
)
def test_ranges(service: Service, image: str, wanted: str, start: int, end: int) -> None:
    status, headers, data = ask(service, image, Range=wanted)
    assert (status, data) == (206, GOOD[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(GOOD)}"
    assert headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "wanted", ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,5-6", "lines=0-1", "bytes=٣-"]
)
def test_what_is_no_range_is_all(service: Service, image: str, wanted: str) -> None:
    status, _, data = ask(service, image, Range=wanted.encode("utf-8").decode("latin-1"))
    assert (status, len(data)) == (200, len(GOOD))


@pytest.mark.parametrize("wanted", [f"bytes={len(GOOD)}-", "bytes=99999999-100000000", "bytes=-0"])
def test_a_range_behind_the_end(service: Service, image: str, wanted: str) -> None:
    status, headers, _ = ask(service, image, Range=wanted)
    assert (status, headers["content-range"]) == (416, f"bytes */{len(GOOD)}")


def test_if_range(service: Service, image: str) -> None:
    tag = f'"{hashlib.sha256(GOOD).hexdigest()}"'
    assert ask(service, image, Range="bytes=0-9", If_Range=tag)[0] == 206
    assert ask(service, image, Range="bytes=0-9", If_Range='"another"')[0] == 200


@pytest.mark.parametrize("name", ["ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6", "x", "%00", "..%2f..", "%C3%A9"])
def test_there_is_no_such_image(service: Service, name: str) -> None:
    assert service.get(f"/v2/images/{name}/file").status == 404
    assert service.request("DELETE", f"/v2/images/{name}").status == 404


def test_other_tenants_images_are_not_there(service: Service, image: str) -> None:
    assert ask(service, image, token="other")[0] == 404
    assert service.request("DELETE", f"/v2/images/{image}", token="other").status == 404
    assert ask(service, image, token="nobody")[0] == 401
    assert ask(service, image)[0] == 200


def test_an_image_is_deleted(service: Service) -> None:
    image = service.imported(service.put("exports/good", GOOD))["result"]["image_id"]
    assert service.request("DELETE", f"/v2/images/{image}", token="reader").status == 403
    answer = service.request("DELETE", f"/v2/images/{image}")
    assert (answer.status, answer.text) == (204, "")
    assert not (service.images / f"{image}.vhd").exists()
    assert service.request("DELETE", f"/v2/images/{image}").status == 404
    assert service.get(f"/v2/images/{image}").status == 404
    assert ask(service, image)[0] == 404
    assert image not in service.get("/v2/images").text
    assert service.exported(image)["message"] == "An image may only be exported by the image owner."


def test_a_download_outlives_the_deletion(service: Service) -> None:
    big = GOOD[:-512] * 6 + fixed(36 * MIB).tobytes()[-512:]
    image = service.imported(service.put("exports/big", big))["result"]["image_id"]
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    connection.request("GET", f"/v2/images/{image}/file", headers={"X-Auth-Token": "tok"})
    answer = connection.getresponse()
    begun = answer.read(1000)
    assert service.request("DELETE", f"/v2/images/{image}").status == 204
    assert begun + answer.read() == big
    connection.close()


def test_an_image_whose_file_is_lost_is_said(serve: Callable[..., Service]) -> None:
    service = serve()
    image = service.imported(service.put("exports/good", GOOD))["result"]["image_id"]
    (service.images / f"{image}.vhd").unlink()
    assert ask(service, image)[0] == 404
    assert image in service.log
    assert service.request("DELETE", f"/v2/images/{image}").status == 204


def test_a_store_that_is_away_is_said_and_keeps_what_is_to_be_deleted(serve: Callable[..., Service]) -> None:
    service = serve()
    image = service.imported(service.put("exports/good", GOOD))["result"]["image_id"]
    aside = service.images.rename(service.folder / "aside")
    service.images.mkdir()  # a mount point
    assert ask(service, image)[0] == 503
    assert service.exported(image)["message"].startswith("Error: The object store could not be read or written.")
    assert service.request("DELETE", f"/v2/images/{image}").status == 204
    assert ask(service, image)[0] == 404
    service.stop()
    service.images.rmdir()
    aside.rename(service.images)
    assert len(service.kept) == 1
    service.start()
    assert service.kept == []


def test_what_could_not_be_deleted_is_deleted_later(serve: Callable[..., Service]) -> None:
    service = serve()
    image = service.imported(service.put("exports/good", GOOD))["result"]["image_id"]
    service.kill()
    # As if the server had been killed between the two steps of a deletion.
    with sqlite3.connect(service.folder / "data" / "tasks.sqlite") as database:
        database.execute("INSERT INTO remains (id, owner, since) SELECT id, owner, 0 FROM images")
        database.execute("DELETE FROM images")
    database.close()
    assert (service.images / f"{image}.vhd").exists()
    service.start()
    assert service.kept == []
    service.kill()
    with sqlite3.connect(service.folder / "data" / "tasks.sqlite") as database:
        assert database.execute("SELECT count(*) FROM remains").fetchone() == (0,)
    database.close()


QUOTA = "Error: The image is more than the tenant may keep. Please delete images that are no longer needed"


@pytest.mark.parametrize("options", [("--quota-images", "2"), ("--quota-bytes", "13MiB")])
def test_a_tenant_keeps_no_more_than_it_may(serve: Callable[..., Service], options: tuple[str, ...]) -> None:
    service = serve(*options)
    service.put("in/good", GOOD)
    (service.folder / "data" / "objects" / "00000999" / "in").mkdir(parents=True)
    (service.folder / "data" / "objects" / "00000999" / "in" / "good").write_bytes(GOOD)
    images = [service.imported("in/good")["result"]["image_id"] for _ in range(2)]
    over = service.imported("in/good")
    assert (over["status"], over["message"]) == ("failure", QUOTA)
    assert len(service.kept) == 2
    assert service.imported("in/good", token="other")["status"] == "success"
    assert service.request("DELETE", f"/v2/images/{images[0]}").status == 204
    assert service.imported("in/good")["status"] == "success"


def test_imports_at_the_same_time_do_not_get_past_the_quota(serve: Callable[..., Service], database: str) -> None:
    first = serve("--quota-images", "3", "--workers", "6", "--database", database)
    second = serve("--quota-images", "3", "--workers", "6", "--database", database, folder=first.folder)
    first.put("in/good", GOOD)
    tasks: list[str] = []
    threads = [
        threading.Thread(target=lambda each=each: tasks.append(each.create("import", {"import_from": "in/good"})))
        for each in (first, second) * 6
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [first.wait(task) for task in tasks]
    assert [task["status"] for task in done].count("success") == 3
    assert {task["message"] for task in done if task["status"] == "failure"} == {QUOTA}
    until_swept(first, 3)


def until_swept(service: Service, count: int) -> None:
    end = time.monotonic() + 10
    while len(service.kept) != count:
        assert time.monotonic() < end, service.kept
        time.sleep(0.05)
