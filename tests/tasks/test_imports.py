"""Imports and exports: what each kind of image and each kind of name ends as."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import GIB, MIB, differencing, dynamic, fixed
from vhdcheck import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.tasks.service import Service

MISSING = "Error: Image not found for import. Possible invalid location"
GOOD = fixed(MIB).tobytes()
REFUSED: dict[int, tuple[Callable[[], bytes], str]] = {
    111: (lambda: fixed(MIB, hidden=1).tobytes(), "There is an unspecified problem with your VHD that caused it to"),
    396: (lambda: b"not a disk image", "The file is not a valid VHD."),
    413: (lambda: dynamic(41 * GIB).tobytes(), "The virtual size of the disk exceeds the 40GB limit."),
    523: (lambda: fixed(MIB, disk_type=5).tobytes(), "Only fixed or dynamic disks may be imported."),
    609: (lambda: b"", "The physical size of the disk exceeds the 40GB limit."),
    614: (lambda: fixed(MIB, unique_id=bytes(16)).tobytes(), "The internal UUID of the VHD is all zeros."),
    721: (lambda: differencing(MIB).tobytes(), "Your VHD has a parent disk. You can only import a stand-alone VHD."),
}


def is_text(value: object) -> bool:
    return isinstance(value, str) and value not in ("", "exports/\ud800", "\ud800")


def not_taken(service: Service, task: dict[str, Any]) -> bool:
    """Whether a task is refused at once, and none is made."""
    before = service.get("/v2/tasks?limit=1").json["tasks"]
    answer = service.request("POST", "/v2/tasks", task)
    return answer.status == 400 and service.get("/v2/tasks?limit=1").json["tasks"] == before


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_image_says_its_code_and_why(service: Service, code: int) -> None:
    make, words = REFUSED[code]
    name = service.put(f"refused/{code}", make())
    if code == 609:
        with (service.objects / name).open("wb") as file:
            file.truncate(40 * GIB + 512)
            file.seek(40 * GIB)
            file.write(fixed(40 * GIB).read(40 * GIB, 512))
    task = service.imported(name)
    report = check(service.objects / name)
    assert (task["status"], task["message"]) == ("failure", report.message)
    assert task["message"].startswith(f"{code}: The image cannot be imported. {words}")
    assert "\n" not in task["message"]
    assert '"' not in task["message"]
    assert [finding["rule"] for finding in task["findings"]] == [finding.rule for finding in report.findings]
    assert "result" not in task
    assert not any(service.images.glob(f"{code}*"))


def test_every_fixture_ends_as_the_command_says(service: Service, root: Path) -> None:
    tasks: dict[str, str] = {}
    paths = sorted(path for path in (root / "fixtures").glob("*.vhd") if path.stat().st_size < 8 * MIB)[::4]
    assert len(paths) > 50
    for path in paths:
        service.put(f"fixtures/{path.name}", path.read_bytes())
        tasks[path.name] = service.create("import", {"import_from": f"fixtures/{path.name}"})
    for path in paths:
        task, report = service.wait(tasks[path.name]), check(path)
        assert task["message"] == (report.message or "None"), path.name
        assert task["status"] == ("success" if report.ok else "failure")
        if report.ok:
            kept = service.images / f"{task['result']['image_id']}.vhd"
            assert kept.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "secret",
        "/etc/passwd",
        "../secret",
        "exports/../../secret",
        "exports/../../../../../../../../etc/passwd",
        "exports/./a",
        "exports//a",
        "exports/",
        "..%2f..%2fsecret",
        "exports/%2e%2e/%2e%2e/secret",
        "exports\\..\\..\\secret",
        "exports/way-out",
        "exports/way-out/secret",
        "way-out/secret",
        "exports/folder",
        "exports/pipe",
        "exports/nul\0",
        "exports/line\nbreak",
        "exports/\ud800",
        "exports/" + "x" * 300,
        "exports/" + "x" * 5000,
        "http://127.0.0.1:1/a.vhd",
        "https://example.org/a.vhd",
        "file:///etc/passwd",
        "exports/http://127.0.0.1/a.vhd",
        "s3://bucket/a.vhd",
        None,
        7,
        ["exports/a"],
        {"exports": "a"},
    ],
)
def test_no_name_leads_out_of_the_store(service: Service, name: object) -> None:
    outside = service.folder / "data" / "objects" / "secret"
    outside.write_bytes(GOOD)
    inside = service.objects / "exports"
    (inside / "folder").mkdir(parents=True, exist_ok=True)
    for link, target in ((inside / "way-out", outside), (service.objects / "way-out", outside.parent)):
        if not link.is_symlink():
            link.symlink_to(target)
    if not (inside / "pipe").exists():
        os.mkfifo(inside / "pipe")
    if is_text(name):
        task = service.wait(service.create("import", {"import_from": name}))
        assert (task["status"], task["message"]) == ("failure", MISSING)
    else:
        assert not_taken(service, {"type": "import", "input": {"import_from": name}})


def test_names_are_taken_literally(service: Service) -> None:
    for name in ("exports/with space", "exports/%2e%2e", "exports/a?b#c*", "exports/é", "exports/a/b/c", "exp.orts/x"):
        assert service.imported(service.put(name, GOOD))["status"] == "success", name


def test_a_tenant_sees_its_own_containers_only(service: Service) -> None:
    service.put("exports/mine", GOOD)
    assert service.imported("exports/mine", token="other")["message"] == MISSING


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, "None"),
        ({"name": None}, "None"),
        ({"name": "a" * 255}, "None"),
        ({"name": "nul \0 <b> \u202e"}, "None"),
        ({"name": "a" * 256}, "Error: The name of an image is a string of at most 255 characters"),
        ({"name": 7}, "Error: The name of an image is a string of at most 255 characters"),
        ({"name": "x", "os": "y"}, "Unsupported element in image_properties, please consult the documentation."),
        ([], "Unsupported element in image_properties, please consult the documentation."),
        ("x", "Unsupported element in image_properties, please consult the documentation."),
    ],
)
def test_the_name_is_the_only_property(service: Service, properties: Any, message: str) -> None:
    service.put("exports/good", GOOD)
    given = {"import_from": "exports/good", "image_properties": properties, "import_from_format": "vhd"}
    task = service.wait(service.create("import", given))
    assert task["message"] == message
    if message == "None":
        assert service.get(f"/v2/images/{task['result']['image_id']}").json["name"] == properties.get("name")


def test_limits_are_the_operators(serve: Callable[..., Service]) -> None:
    service = serve("--max-virtual-size", "160GiB", VHDCHECK_TASKS_TARGET="generic")
    service.put("exports/big", dynamic(160 * GIB).tobytes())
    service.put("exports/bigger", dynamic(160 * GIB + MIB).tobytes())
    assert service.imported("exports/big")["status"] == "success"
    assert service.imported("exports/bigger")["message"].endswith("exceeds the 160GB limit.")


def test_an_image_that_changes_while_it_is_copied_is_not_kept(serve: Callable[..., Service]) -> None:
    service = serve()
    path = service.objects / "exports" / "changing"
    path.parent.mkdir()
    fixed(400 * MIB).write(path)
    task = service.create("import", {"import_from": "exports/changing"})
    end = time.monotonic() + 30
    while not any(service.images.glob("*.part")):
        assert time.monotonic() < end
        time.sleep(0.002)
    os.truncate(path, 400 * MIB + 511)
    done = service.wait(task)
    assert (done["status"], done["message"][:5]) == ("failure", "396: ")
    assert done["findings"]
    assert service.kept == []
    assert service.get("/v2/images").json["images"] == []


def test_an_image_whose_layout_no_stream_can_follow_is_imported(service: Service, root: Path) -> None:
    image = dynamic(10 * MIB, blocks=[0], header_offset=256 * 1024)
    name = service.put("exports/header-behind", image.tobytes())
    assert check(service.objects / name).ok
    assert service.imported(name)["status"] == "success"


def test_an_export_and_what_stands_in_its_way(service: Service) -> None:
    image = service.imported(service.put("exports/for-export", GOOD))["result"]["image_id"]
    done = service.exported(image)
    assert done["status"] == "success"
    assert done["result"] == {"export_location": f"exports/{image}.vhd"}
    assert (service.objects / "exports" / f"{image}.vhd").read_bytes() == GOOD
    again = service.exported(image)
    assert again["message"] == f"Swift already has an object with id '{image}.vhd' in container 'exports'"
    assert service.exported(image, "nowhere")["message"] == "Container not found. Container: nowhere"
    (service.objects / "exports" / f"{image}.vhd").unlink()
    assert service.exported(image.upper())["status"] == "success"
    assert not any(path.name.endswith(".part") for path in (service.objects / "exports").iterdir())


@pytest.mark.parametrize(
    "container",
    ["", ".", "..", "a/b", "../objects", "exp.orts", "exports?", "way-out", "exports\0", "\ud800", None, 7, []],
)
def test_no_export_leaves_the_store(service: Service, container: object) -> None:
    image = service.imported(service.put("exports/for-export", GOOD))["result"]["image_id"]
    (service.objects / "exp.orts").mkdir(exist_ok=True)
    if not (service.objects / "way-out").is_symlink():
        (service.objects / "way-out").symlink_to(service.folder)
    if is_text(container):
        task = service.exported(image, container)
        assert (task["status"], task["message"][:32]) == ("failure", "Container not found. Container: ")
        assert task["message"].isprintable()
    else:
        given = {"image_uuid": image, "receiving_swift_container": container}
        assert not_taken(service, {"type": "export", "input": given})
    assert not list(service.folder.rglob(f"objects/**/{image}.vhd"))
    assert not (service.folder / f"{image}.vhd").exists()


@pytest.mark.parametrize(
    "image", ["ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6", "", "../x", "\0", "\ud800", None, 7, [], "foreign"]
)
def test_only_the_owner_exports_an_image(service: Service, image: Any) -> None:
    service.put("exports/for-export", GOOD)
    token = "tok"
    if image == "foreign":
        image = service.imported("exports/for-export")["result"]["image_id"]
        token = "other"
    if is_text(image):
        task = service.exported(image, token=token)
        assert (task["status"], task["message"]) == ("failure", "An image may only be exported by the image owner.")
    else:
        given = {"image_uuid": image, "receiving_swift_container": "exports"}
        assert not_taken(service, {"type": "export", "input": given})


def test_an_image_store_that_cannot_be_written_fails_the_task(serve: Callable[..., Service]) -> None:
    service = serve()
    service.put("exports/good", GOOD)
    aside = service.images.rename(service.folder / "aside")
    service.images.write_text("no folder")
    task = service.imported("exports/good")
    assert task["message"] == "Error: The object store could not be read or written. Please try again"
    service.images.unlink()
    service.images.mkdir()  # as if a disk were not mounted
    assert service.imported("exports/good")["status"] == "failure"
    assert service.kept == []
    service.images.rmdir()
    aside.rename(service.images)
    assert service.imported("exports/good")["status"] == "success"
