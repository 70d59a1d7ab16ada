"""The clients that people have: glance, openstack, openstacksdk. Their output is what counts."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, fixed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tasks.service import Service

glanceclient = pytest.importorskip("glanceclient", reason="python-glanceclient is not installed")
openstack = pytest.importorskip("openstack", reason="openstacksdk is not installed")
pytest.importorskip("openstackclient", reason="python-openstackclient is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # clients of other makers, which deprecate things of each other

BIN = Path(sys.executable).parent
GOOD = fixed(MIB).tobytes()


def run(home: Path, *command: str, status: int = 0, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "200", **(environment or {})},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def failed(service: Service) -> dict[str, Any]:
    return service.imported("exports/none")


def glance(service: Service, home: Path, *command: str, status: int = 0) -> str:
    return run(home, "glance", "--os-image-url", service.url, "--os-auth-token", "tok", *command, status=status)


def test_glance_lists_and_shows(service: Service, tmp_path: Path, failed: dict[str, Any]) -> None:
    assert failed["id"] in glance(service, tmp_path, "task-list")
    service.imported(service.put("exports/a", GOOD))
    by_pages = ("task-list", "--page-size", "1", "--sort-key", "id", "--sort-dir", "asc", "--type", "import")
    listed = glance(service, tmp_path, "--os-image-api-version", "2", *by_pages, "--status", "failure")
    assert failed["id"] in listed
    assert "success" not in listed
    shown = glance(service, tmp_path, "--os-image-api-version", "2", "task-show", failed["id"])
    for text in (failed["message"], failed["owner"], failed["expires_at"]):
        assert text in shown


def test_glance_creates(service: Service, tmp_path: Path) -> None:
    given = '{"import_from":"exports/a.vhd","image_properties":{"name":"x"}}'
    create = ("--os-image-api-version", "2", "task-create", "--type")
    service.put("exports/a.vhd", GOOD)
    made = glance(service, tmp_path, *create, "import", "--input", given)
    assert "pending" in made
    (first, *_) = service.get("/v2/tasks").json["tasks"]
    image = service.wait(first["id"])["result"]["image_id"]
    given = json.dumps({"image_uuid": image, "receiving_swift_container": "exports"})
    assert "export" in glance(service, tmp_path, *create, "export", "--input", given)
    (first, *_) = service.get("/v2/tasks?type=export").json["tasks"]
    assert service.wait(first["id"])["result"]["export_location"] == f"exports/{image}.vhd"


@pytest.mark.parametrize("suffix", ["", "/", "/v2"])
def test_glance_by_its_environment(service: Service, tmp_path: Path, failed: dict[str, Any], suffix: str) -> None:
    environment = {"OS_IMAGE_URL": service.url + suffix, "OS_AUTH_TOKEN": "tok", "OS_IMAGE_API_VERSION": "2"}
    assert failed["id"] in run(tmp_path, "glance", "task-list", environment=environment)


def test_glance_prints_what_is_wrong(service: Service, tmp_path: Path) -> None:
    shown = glance(service, tmp_path, "task-show", "00000000-0000-0000-0000-000000000000", status=1)
    assert "404 Not Found: No task found with ID 00000000-0000-0000-0000-000000000000" in shown
    wrong = ("glance", "--os-image-url", service.url, "--os-auth-token", "wrong", "task-list")
    assert "Invalid OpenStack Identity credentials" in run(tmp_path, *wrong, status=1)


def test_openstack_lists_and_shows(service: Service, tmp_path: Path, failed: dict[str, Any]) -> None:
    token = ("openstack", "--os-auth-type", "admin_token", "--os-token", "tok", "--os-endpoint")
    assert failed["id"] in run(tmp_path, *token, f"{service.url}/v2", "image", "task", "list")
    assert failed["message"] in run(tmp_path, *token, f"{service.url}/v2", "image", "task", "show", failed["id"])
    override = {"OS_IMAGE_ENDPOINT_OVERRIDE": service.url}
    few = ("image", "task", "list", "--status", "failure", "--limit", "1")
    assert "failure" in run(tmp_path, *token, service.url, *few, environment=override)
    none = ("openstack", "--os-auth-type", "none", "--os-endpoint", service.url, "image", "task", "list")
    assert failed["id"] in run(tmp_path, *none)


@pytest.fixture(params=["admin_token", "none"])
def connection(request: pytest.FixtureRequest, service: Service) -> Iterator[Any]:
    auth = {"endpoint": service.url, **({"token": "tok"} if request.param == "admin_token" else {})}
    with openstack.connection.Connection(
        auth_type=request.param, auth=auth, image_endpoint_override=service.url
    ) as ours:
        yield ours


def test_openstacksdk_imports(service: Service, connection: Any) -> None:
    service.put("exports/a", GOOD)
    given = {"import_from": "exports/a", "image_properties": {"name": "x"}}
    task = connection.image.create_task(type="import", input=given)
    assert (task.status, task.message, task.input) == ("pending", "None", given)
    task = connection.image.wait_for_task(task, interval=0.2, wait=30)
    assert task.status == "success"
    assert connection.image.get_image(task.result["image_id"]).name == "x"
    assert connection.image.get_task(task.id).expires_at == task.expires_at
    assert set(connection.image.get_task_schema().properties) > {"type", "message", "result"}
    assert "tasks" in connection.image.get_tasks_schema().properties


def test_openstacksdk_does_not_submit_a_failed_import_again(service: Service, connection: Any) -> None:
    service.put("exports/bad", b"not a disk image")
    before = service.log.count('"created"')
    task = connection.image.create_task(type="import", input={"import_from": "exports/bad"})
    with pytest.raises(openstack.exceptions.ResourceFailure):
        connection.image.wait_for_task(task, interval=0.2, wait=30)
    assert service.log.count('"created"') == before + 1
    message = connection.image.get_task(task.id).message
    assert message == "396: The image cannot be imported. The file is not a valid VHD."


def test_openstacksdk_lists_every_page(service: Service, connection: Any) -> None:
    for _ in range(5):
        service.imported("exports/none")
    own = {task["id"] for task in service.get("/v2/tasks?limit=1000").json["tasks"]}
    assert {task.id for task in connection.image.tasks()} == own
    assert {task.id for task in connection.image.tasks(limit=2)} == own
    assert {task.status for task in connection.image.tasks(status="failure", limit=2)} == {"failure"}
    with pytest.raises(openstack.exceptions.NotFoundException, match="No task found with ID 00000000"):
        connection.image.get_task("00000000-0000-0000-0000-000000000000")


def test_glanceclient_as_a_library(service: Service, failed: dict[str, Any]) -> None:
    client = glanceclient.Client("2", service.url, token="tok")
    service.put("exports/bad", b"not a disk image")
    refused = service.imported("exports/bad")
    listed = {task.id: task for task in client.tasks.list(page_size=2, filters={"status": "failure"})}
    assert {failed["id"], refused["id"]} <= set(listed)
    assert client.tasks.get(refused["id"]).findings == refused["findings"]
    made = client.tasks.create(type="import", input={"import_from": "exports/none"})
    assert service.wait(made.id)["status"] == "failure"


def test_clients_list_and_find_images(service: Service, tmp_path: Path, connection: Any) -> None:
    name = f"to be found {secrets.token_hex(4)}"
    image = service.imported(service.put("exports/a", GOOD), name=name)["result"]["image_id"]
    wide = ("--os-image-api-version", "2")
    assert name in glance(service, tmp_path, *wide, "image-list", "--limit", "1000")
    own = ("image-list", "--sort", "name:asc", "--owner", "00000123", "--property-filter", f"name={name}")
    assert image in glance(service, tmp_path, *wide, *own)
    assert image in glance(service, tmp_path, *wide, "image-list", "--visibility", "private", "--hidden", "False")
    assert image not in glance(service, tmp_path, *wide, "image-list", "--hidden", "True")
    assert image not in glance(service, tmp_path, *wide, "image-list", "--tag", "x")
    refused = glance(service, tmp_path, *wide, "image-list", "--property-filter", "os_type=linux", status=1)
    assert "400 Bad Request: Unknown parameter 'os_type'" in refused
    token = ("openstack", "--os-auth-type", "admin_token", "--os-token", "tok", "--os-endpoint", f"{service.url}/v2")
    assert image in run(tmp_path, *token, "image", "list", "--name", name)
    assert image in run(tmp_path, *token, "image", "list", "--status", "active", "--private", "--sort", "name:asc")
    assert name in run(tmp_path, *token, "image", "show", image)
    assert connection.image.find_image(name).id == image
    assert connection.image.find_image("none") is None


def test_glance_downloads_and_deletes(service: Service, tmp_path: Path) -> None:
    image = service.imported(service.put("exports/a", GOOD))["result"]["image_id"]
    second = ("--os-image-api-version", "2")
    glance(service, tmp_path, *second, "image-download", image, "--file", str(tmp_path / "whole"))
    assert (tmp_path / "whole").read_bytes() == GOOD
    glance(service, tmp_path, *second, "image-delete", image)
    assert "No image found" in glance(service, tmp_path, *second, "image-show", image, status=1)
    assert image in glance(service, tmp_path, *second, "image-delete", image, status=1)


def test_openstack_downloads_and_deletes(service: Service, tmp_path: Path) -> None:
    image = service.imported(service.put("exports/a", GOOD))["result"]["image_id"]
    token = ("openstack", "--os-auth-type", "admin_token", "--os-token", "tok", "--os-endpoint", f"{service.url}/v2")
    run(tmp_path, *token, "image", "save", "--file", str(tmp_path / "whole"), image)
    assert (tmp_path / "whole").read_bytes() == GOOD
    run(tmp_path, *token, "image", "delete", image)
    assert service.get(f"/v2/images/{image}").status == 404


def test_openstacksdk_downloads_and_deletes(service: Service, connection: Any, tmp_path: Path) -> None:
    image = service.imported(service.put("exports/a", GOOD))["result"]["image_id"]
    connection.image.download_image(image, output=str(tmp_path / "whole"), stream=True)
    assert (tmp_path / "whole").read_bytes() == GOOD
    connection.image.delete_image(image, ignore_missing=False)
    with pytest.raises(openstack.exceptions.NotFoundException):
        connection.image.get_image(image)
