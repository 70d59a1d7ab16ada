"""Lists: what they tell, their pages, order and filters; what a list does not honour it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, fixed
from tests.tasks.service import TENANT
from tests.tasks.test_api import NOWHERE, PENDING, says

if TYPE_CHECKING:
    from tests.tasks.service import Service


def test_a_list_is_brief(service: Service) -> None:
    service.imported("exports/nothing")
    answer = service.get("/v2/tasks?limit=1&type=import&sort_dir=asc").json
    (task,) = answer["tasks"]
    assert {"input", "message", "result", "findings"} & set(task) == set()
    assert set(task) == PENDING - {"input", "message"} | {"expires_at"}
    assert answer["schema"] == "/v2/schemas/tasks"
    assert answer["first"] == "/v2/tasks?limit=1&type=import&sort_dir=asc"
    assert answer["next"] == f"{answer['first']}&marker={task['id']}"


def test_pages_are_followed_by_next(service: Service) -> None:
    for _ in range(3):
        service.create("import", {"import_from": "a/b"})
    seen: list[str] = []
    path: str | None = "/v2/tasks?limit=2&sort_key=id"
    while path is not None:
        page = service.get(path).json
        assert page["first"] == "/v2/tasks?limit=2&sort_key=id"
        seen += [task["id"] for task in page["tasks"]]
        path = page.get("next")
    assert len(seen) >= 3
    assert seen == sorted(set(seen), reverse=True)
    assert service.get("/v2/tasks?limit=0").json == {
        "tasks": [],
        "first": "/v2/tasks?limit=0",
        "schema": "/v2/schemas/tasks",
    }
    assert service.get("/v2/tasks", token="other").json["tasks"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=1.5",
        "limit=x",
        "limit=",
        "limit=%D9%A1",
        "marker=x",
        f"marker={NOWHERE}",
        "sort_key=message",
        "sort_dir=up",
        "status=done",
        "type=clone",
        "type=",
    ],
)
def test_400_a_list_with_a_malformed_parameter(service: Service, query: str) -> None:
    says(service.get(f"/v2/tasks?{query}"), 400)


@pytest.mark.parametrize("path", ["/v2/tasks", "/v2/images"])
@pytest.mark.parametrize(
    "query",
    ["tags=x", "created_at=gt:2014-01-01", "limit=1&limit=2", "name=a&name=b", "owner=%00", "x=%F0%9F", "=", "sort=x"],
)
def test_400_a_list_with_a_parameter_that_is_not_honoured(service: Service, path: str, query: str) -> None:
    says(service.get(f"{path}?{query}"), 400)


def test_filters_of_tasks(service: Service) -> None:
    tasks = [service.imported(name) for name in ("filter/a", "filter/b")]
    first = tasks[0]

    def found(query: str) -> set[str]:
        return {task["id"] for task in service.get(f"/v2/tasks?{query}").json["tasks"]}

    for query in (f"id={first['id'].upper()}", f"request_id={first['request_id']}"):
        assert found(query) == {first["id"]}
    assert {task["id"] for task in tasks} <= found(f"owner={TENANT}&user_id=somebody&status=failure")
    assert found("owner=00000999") == found("user_id=nobody") == found(f"id={NOWHERE}") == found("id=x") == set()
    assert found(f"id={first['id']}&status=success") == set()
    ways = [
        [task["id"] for task in service.get(f"/v2/tasks?{sort}").json["tasks"]]
        for sort in ("sort=id:asc", "sort_key=id")
    ]
    assert ways[0] == ways[1][::-1] == sorted(ways[0])


def test_filters_of_images(service: Service) -> None:
    for name in ("first", "second"):
        service.imported(service.put("exports/filtered", fixed(MIB).tobytes()), name=name)
    own = {image["name"]: image["id"] for image in service.get("/v2/images").json["images"]}

    def found(query: str) -> set[str]:
        return {image["id"] for image in service.get(f"/v2/images?{query}").json["images"]}

    assert found("name=first") == found(f"id={own['first']}&visibility=private&os_hidden=False") == {own["first"]}
    assert found(f"owner={TENANT}&status=active&disk_format=vhd&visibility=all") == set(own.values())
    for query in (
        "status=queued",
        "visibility=public",
        "owner=x",
        "os_hidden=True",
        "name=third",
        "protected=true",
        "tag=x",
        "tag=all",
    ):
        assert found(query) == set()
    by_name = [image["name"] for image in service.get("/v2/images?sort_key=name&sort_dir=asc").json["images"]]
    assert by_name == sorted(by_name, key=str)
