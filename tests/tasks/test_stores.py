"""Objects and images in S3 (moto's server) and Azure (Azurite), and work done by a dask cluster."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, dynamic, fixed
from tests.audit.test_dask import Cluster, cluster  # noqa: F401, TC001 (a fixture)
from tests.remote.conftest import azure, s3, store  # noqa: F401 (fixtures)
from tests.tasks.service import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.stores import Served
    from tests.tasks.service import Service

GOOD = fixed(MIB).tobytes()
MISSING = "Error: Image not found for import. Possible invalid location"


@pytest.fixture
def remote(serve: Callable[..., Service], store: Served) -> Service:  # noqa: F811 (a fixture)
    """A service with no image on its own disk; what its stores need comes from the environment."""
    names = {"key": "key", "secret": "secret", "endpoint_url": "endpoint_url", "connection_string": "connection_string"}
    settings = {f"FSSPEC_{store.scheme.upper()}_{names[name].upper()}": value for name, value in store.options.items()}
    place = f"{store.scheme}://images"
    return serve("--objects", f"{place}/objects/{{tenant}}", "--images", f"{place}/kept", **settings)


def test_import_and_export_between_stores(remote: Service, store: Served) -> None:  # noqa: F811
    mine = f"objects/{TENANT}/exports"
    store.put(f"{mine}/good", GOOD)
    store.put(f"{mine}/deep/er/good", dynamic(10 * MIB, blocks=[0]).tobytes())
    store.put(f"{mine}/bad", GOOD[:-1])
    store.put(f"{mine}/zero", b"")
    store.put("objects/secret", GOOD)
    done = remote.imported("exports/good", name="from afar")
    assert (done["status"], done["message"]) == ("success", "None")
    image = done["result"]["image_id"]
    assert remote.get(f"/v2/images/{image}").json["size"] == len(GOOD)
    assert remote.imported("exports/deep/er/good")["status"] == "success"
    assert remote.imported("exports/bad")["message"][:4] == "396:"
    assert remote.imported("exports/zero")["message"][:4] == "396:"
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


def test_what_a_dead_worker_left_in_a_store_is_deleted_at_the_next_start(
    remote: Service,
    store: Served,  # noqa: F811
) -> None:
    import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: PLC0415

    files = fsspec.filesystem(store.scheme, **store.options, skip_instance_cache=True)
    store.put(f"objects/{TENANT}/exports/good", GOOD)
    kept = remote.imported("exports/good")["result"]["image_id"]
    store.put("kept/ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6.vhd", GOOD)
    remote.kill()
    remote.start()
    files.invalidate_cache()
    left = {path.rpartition("/")[2] for path in files.ls("images/kept", detail=False)}
    assert f"{kept}.vhd" in left
    assert "ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6.vhd" not in left


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
