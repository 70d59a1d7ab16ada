"""Objects and images in S3 (moto's server) and Azure (Azurite), and work done by a dask cluster."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import time
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest

from fixtures.writer import MIB, dynamic, fixed
from tests.audit.test_dask import Cluster, cluster  # noqa: F401, TC001 (a fixture)
from tests.remote.conftest import azure, azurite, s3, store  # noqa: F401 (fixtures)
from tests.tasks.service import TENANT
from tests.tasks.test_kill import KILLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.stores import Served
    from tests.tasks.service import Service

GOOD = fixed(MIB).tobytes()
MISSING = "Error: Image not found for import. Possible invalid location"


@pytest.fixture
def place(store: Served) -> str:  # noqa: F811 (a fixture)
    """A place of this test's own."""
    return f"tasks-{time.time_ns()}"


@pytest.fixture
def remote(serve: Callable[..., Service], store: Served, place: str) -> Service:  # noqa: F811 (a fixture)
    """A service with no image on its own disk; what its stores need comes from the environment."""
    settings = {f"FSSPEC_{store.scheme.upper()}_{name.upper()}": value for name, value in store.options.items()}
    url = f"{store.scheme}://images/{place}"
    options = ("--mend", "certain", "--lease-seconds", "0.6", "--max-attempts", "1000", "--workers", "3")
    return serve("--objects", f"{url}/objects/{{tenant}}", "--images", f"{url}/kept", *options, **settings)


def digests(store: Served, place: str) -> dict[str, str]:  # noqa: F811 (a fixture)
    """The SHA-256 of each object below a place, by its last name."""
    import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]

    files = fsspec.filesystem(store.scheme, **store.options, skip_instance_cache=True)
    try:
        found = files.ls(f"images/{place}", detail=False)
    except FileNotFoundError:
        return {}
    return {path.rpartition("/")[2]: hashlib.sha256(files.cat_file(path)).hexdigest() for path in found}


def test_import_and_export_between_stores(remote: Service, store: Served, place: str) -> None:  # noqa: F811
    mine = f"{place}/objects/{TENANT}/exports"
    store.put(f"{mine}/good", GOOD)
    store.put(f"{mine}/deep/er/good", dynamic(10 * MIB, blocks=[0]).tobytes())
    store.put(f"{mine}/bad", GOOD[:-1024])
    store.put(f"{mine}/zero", b"")
    store.put(f"{place}/objects/secret", GOOD)
    done = remote.imported("exports/good", name="from afar")
    assert (done["status"], done["message"]) == ("success", "None")
    image = done["result"]["image_id"]
    assert remote.get(f"/v2/images/{image}").json["size"] == len(GOOD)
    assert remote.imported("exports/deep/er/good")["status"] == "success"
    assert remote.imported("exports/bad")["message"][:4] == "396:"
    assert remote.imported("exports/zero")["message"][:4] == "396:"
    store.put(f"{mine}/no-id", fixed(MIB, unique_id=bytes(16)).tobytes())
    mended = remote.imported("exports/no-id")["result"]
    assert mended["mended"] == "correct"
    assert digests(store, f"{place}/kept")[f"{mended['image_id']}.vhd"] == mended["image_sha256"]
    for name in (
        "exports/none",
        "none/none",
        "../secret",
        "exports/../../secret",
        "exports/go*",
        "exports/deep",
        "exports/a?x=y",
    ):
        assert remote.imported(name)["message"] == MISSING, name
    assert remote.exported(image, "exports")["result"] == {"export_location": f"exports/{image}.vhd"}
    again = remote.exported(image, "exports")
    assert again["message"] == f"Swift already has an object with id '{image}.vhd' in container 'exports'"
    assert remote.exported(image, "nowhere")["message"] == "Container not found. Container: nowhere"
    back = remote.imported(f"exports/{image}.vhd")["result"]["image_id"]
    first, second = (remote.get(f"/v2/images/{each}").json["os_hash_value"] for each in (image, back))
    assert first == second
    assert not remote.images.exists()


def test_bytes_and_deletion_of_an_image_in_a_store(remote: Service, store: Served, place: str) -> None:  # noqa: F811
    big = fixed(12 * MIB).tobytes()
    store.put(f"{place}/objects/{TENANT}/exports/good", big)
    image = remote.imported("exports/good")["result"]["image_id"]
    for headers, start, end in ({}, 0, len(big)), ({"Range": "bytes=6291450-6291460"}, 6291450, 6291461):
        request = Request(f"{remote.url}/v2/images/{image}/file", headers={"X-Auth-Token": "tok", **headers})  # noqa: S310
        with urlopen(request) as answer:  # noqa: S310 (of this machine)
            assert answer.read() == big[start:end]
    assert remote.request("DELETE", f"/v2/images/{image}").status == 204
    assert f"{image}.vhd" not in digests(store, f"{place}/kept")


def test_what_is_not_ours_in_a_store_is_left_alone(remote: Service, store: Served, place: str) -> None:  # noqa: F811
    store.put(f"{place}/objects/{TENANT}/exports/good", GOOD)
    kept = remote.imported("exports/good")["result"]["image_id"]
    store.put(f"{place}/kept/ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6.vhd", GOOD)
    before = digests(store, f"{place}/kept")
    remote.kill()
    remote.start()
    assert f"{kept}.vhd" in before
    assert digests(store, f"{place}/kept") == before


def test_a_store_that_holds_somebody_elses_objects_is_refused(
    serve: Callable[..., Service],
    store: Served,  # noqa: F811
    place: str,
) -> None:
    settings = {f"FSSPEC_{store.scheme.upper()}_{name.upper()}": value for name, value in store.options.items()}
    store.put(f"{place}/theirs.vhd", GOOD)
    with pytest.raises(AssertionError, match="1 files, none of which is an image of this database"):
        serve("--images", f"{store.scheme}://images/{place}", **settings)
    assert list(digests(store, place)) == ["theirs.vhd"]


def test_kills_leave_each_image_whole_and_none_too_many(
    remote: Service,
    store: Served,  # noqa: F811
    place: str,
) -> None:
    random_ = random.Random(7)
    good = fixed(7 * MIB).tobytes()
    store.put(f"{place}/objects/{TENANT}/in/good", good)
    store.put(f"{place}/objects/{TENANT}/in/bad", good[:-1024])
    started = time.monotonic()
    tasks = [remote.create("import", {"import_from": "in/good"})]
    remote.wait(tasks[0])
    took = time.monotonic() - started  # kills come before, while, and after an import is done, on any machine
    for kill in range(KILLS):
        if kill < KILLS - 2:
            tasks += [remote.create("import", {"import_from": name}) for name in ("in/good", "in/bad", "in/good")]
        time.sleep(random_.uniform(0, 2 * took))
        remote.kill()
        remote.start()
    done = [remote.wait(task, patience=120) for task in tasks]
    for task in done:
        assert task["status"] == ("success" if task["input"]["import_from"] == "in/good" else "failure"), task
    images = {f"{task['result']['image_id']}.vhd" for task in done if task["status"] == "success"}
    assert len(images) == 1 + 2 * (len(tasks) - 1) // 3
    end = time.monotonic() + 20
    while set(kept := digests(store, f"{place}/kept")) - images != {"vhdcheck-images.id"}:
        assert time.monotonic() < end, kept
        time.sleep(0.5)
    assert {kept[name] for name in images} == {hashlib.sha256(good).hexdigest()}
    scratch = remote.folder / "data" / "scratch"
    assert scratch.is_dir()
    assert list(scratch.iterdir()) == []


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed")
def test_a_cluster_does_the_work(serve: Callable[..., Service], cluster: Cluster) -> None:  # noqa: F811
    service = serve("--executor", f"dask://{cluster.address}", "--lease-seconds", "1")
    service.put("exports/good", GOOD)
    service.put("exports/bad", GOOD[:-1])
    first = service.imported("exports/good")
    assert first["status"] == "success", first
    image = first["result"]["image_id"]
    assert service.imported("exports/bad")["message"][:4] == "396:"
    assert service.exported(image)["status"] == "success"
    tasks = [service.create("import", {"import_from": "exports/good"}) for _ in range(20)]
    cluster.processes["one"].kill()
    done = [service.wait(task) for task in tasks]
    assert {task["status"] for task in done} == {"success"}
    images = {task["result"]["image_id"] for task in done} | {image}
    assert {path.stem for path in service.kept} == images
    service.stop()


def test_a_cluster_that_is_not_there_is_said_at_the_start(serve: Callable[..., Service]) -> None:
    with pytest.raises(AssertionError, match="cannot reach the scheduler"):
        serve("--executor", "dask://127.0.0.1:9", DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1s")
