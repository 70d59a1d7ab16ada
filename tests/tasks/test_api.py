"""The API as its source describes it: shapes, every status code, and how a task is seen."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, fixed
from tests.tasks.service import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.tasks.service import Answer, Service

UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
PENDING = {
    *("created_at", "id", "input", "message", "owner", "request_id", "schema", "self", "status", "type"),
    *("updated_at", "user_id"),
}
NOWHERE = "00000000-0000-4000-8000-000000000000"
IMPORT = {"type": "import", "input": {"import_from": "exports/none.vhd", "image_properties": {"name": "x"}}}


def seconds(text: str) -> int:
    return int(time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))


def says(answer: Answer, status: int, words: str = "") -> None:
    """Whether an answer is an error in the shape that glanceclient survives."""
    assert answer.status == status, answer
    error = answer.json["error"]
    assert error["code"] == status
    assert error["message"].startswith(f"{status} {error['title']}: ")
    assert words in error["message"]
    assert answer.headers["content-type"] == "application/json"


def test_a_pending_task(service: Service) -> None:
    answer = service.request("POST", "/v2/tasks", IMPORT)
    task = answer.json
    assert (answer.status, answer.headers["location"]) == (201, task["self"])
    assert set(task) == PENDING
    assert UUID.fullmatch(task["id"])
    assert TIME.fullmatch(task["created_at"])
    assert task["updated_at"] == task["created_at"]
    assert task["input"] == IMPORT["input"]
    assert (task["status"], task["type"], task["owner"], task["message"]) == ("pending", "import", TENANT, "None")
    assert (task["schema"], task["self"]) == ("/v2/schemas/task", f"/v2/tasks/{task['id']}")
    service.wait(task["id"])


def test_a_failed_task(service: Service) -> None:
    task = service.imported("nonexistentcontainer/noimage.vhd")
    assert set(task) == PENDING | {"expires_at"}
    assert task["status"] == "failure"
    assert task["message"] == "Error: Image not found for import. Possible invalid location"
    assert seconds(task["expires_at"]) - seconds(task["updated_at"]) == 48 * 3600


def test_a_successful_task_and_its_image(service: Service) -> None:
    data = fixed(MIB).tobytes()
    task = service.imported(service.put("exports/good", data), name="My excellent custom image")
    assert set(task) == PENDING | {"expires_at", "result", "findings", "image_id"}
    assert (task["status"], task["message"], set(task["result"])) == ("success", "None", {"image_id"})
    assert seconds(task["expires_at"]) - seconds(task["updated_at"]) == 48 * 3600
    image = service.get(f"/v2/images/{task['result']['image_id']}").json
    assert (image["name"], image["size"], image["virtual_size"]) == ("My excellent custom image", len(data), MIB)
    assert (image["owner"], image["status"], image["disk_format"]) == (TENANT, "active", "vhd")
    assert image in service.get("/v2/images").json["images"]
    assert (service.images / f"{image['id']}.vhd").read_bytes() == data
    says(service.get(image["self"], token="other"), 404)
    assert service.get("/v2/images", token="other").json["images"] == []
    says(service.get(f"/v2/images/{NOWHERE}"), 404)
    says(service.get("/v2/images?limit=-1"), 400)
    says(service.get(f"/v2/images?marker={NOWHERE}"), 400)


def test_the_input_comes_back_unchanged(service: Service) -> None:
    given = {
        "import_from": "é/\U0001f600",
        "image_properties": {},
        "import_from_format": "vhd",
        "deep": [{"": [None, 1.5]}],
    }
    task = service.wait(service.create("import", given))
    assert task["input"] == given


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[1]", "object"),
        (b'{"input": {}}', "Task 'type' is required"),
        (b'{"type": "import"}', "Task 'input' is required"),
        (b'{"type": "import", "input": {}}', "Input does not contain 'import_from' field"),
        (b'{"type": "import", "input": {"image_properties": {"name": "x"}}}', "'import_from'"),
        (b'{"type": "import", "input": {"import_from": ["a/b"]}}', "'import_from' must be a string"),
        (b'{"type": "import", "input": {"import_from": ""}}', "'import_from' must be a string, and not empty"),
        (b'{"type": "export", "input": {"image_uuid": "x"}}', "'receiving_swift_container'"),
        (b'{"type": "export", "input": {"receiving_swift_container": "x"}}', "'image_uuid'"),
        (b'{"type": "import", "input": {"import_from": "a/b", "image_properties": {"name": "\\ud83d"}}}', "surrogate"),
        (b'{"type": "import", "input": {"import_from": "a/b", "\\udc00": 1}}', "surrogate"),
        (b'{"type": "import", "input": {"import_from": "a/b", "x": [["\\ud83d\\ud83d\\ude00"]]}}', "surrogate"),
        (b'{"type": "import", "input": {"import_from": "a/b", "a": ' + b"[" * 64 + b"]" * 64 + b"}}", "nested"),
        (
            b'{"type": "import", "input": {"import_from": "a/b", "a": ' + b'{"x":' * 900 + b"1" + b"}" * 900 + b"}}",
            "nested",
        ),
        (b'{"type": "clone", "input": {}}', "import or export"),
        (b'{"type": ["import"], "input": {}}', "import or export"),
        (b'{"type": "import", "input": []}', "object"),
        (b'{"type": "import", "input": {"a": NaN}}', "JSON"),
        (b'{"type": "import", "input": {"a": 1e999}}', "JSON"),
        (b'{"type": "import", "input": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}", "JSON"),
        (b'{"type": "import", "input": {"a": ' + b"1" * 5000 + b"}}", "JSON"),
        (b"\xff\xfe", "JSON"),
    ],
)
def test_400_a_malformed_task(service: Service, body: bytes, words: str) -> None:
    headers = {"Content-Type": "application/json"}
    before = service.get("/v2/tasks").json
    says(service.request("POST", "/v2/tasks", body=body, headers=headers), 400, words)
    assert service.get("/v2/tasks").json == before


@pytest.mark.parametrize("token", [None, "", "wrong", "TOK", "\xe9", "x" * 5000])
def test_401_without_a_valid_token(service: Service, token: str | None) -> None:
    for method, path in [
        ("GET", "/v2/tasks"),
        ("GET", f"/v2/tasks/{NOWHERE}"),
        ("POST", "/v2/tasks"),
        ("GET", "/v2/images"),
    ]:
        answer = service.request(method, path, token=token)
        says(answer, 401)
        assert answer.headers["www-authenticate"] == 'Token realm="image tasks"'


def test_403_for_a_role_that_only_reads(service: Service) -> None:
    says(service.request("POST", "/v2/tasks", IMPORT, token="reader"), 403)
    assert service.get("/v2/tasks", token="reader").status == 200


def test_404_for_what_is_not_there_or_not_yours(service: Service) -> None:
    task = service.create("import", {"import_from": "a/b"})
    assert service.get(f"/v2/tasks/{task.upper()}").status == 200
    says(service.get(f"/v2/tasks/{NOWHERE}"), 404, f"No task found with ID {NOWHERE}")
    says(service.get(f"/v2/images/{NOWHERE}"), 404, f"No image found with ID {NOWHERE}")
    says(service.get("/v2/tasks/%1b%5b2J%E2%80%AE"), 404, r"No task found with ID \x1b[2J\u202e")
    says(service.get(f"/v2/tasks/{task}", token="other"), 404)
    for name in (NOWHERE, "invalid", "", "%00", "%F0%9F%98%80", "..", "x" * 3000, f"{task}%0a"):
        says(service.get(f"/v2/tasks/{name}"), 404)
    for path in ("/v3", "/v2/nothing", "/v2/schemas/none", "/v2/tasks/a/b", "/v2//tasks"):
        says(service.get(path), 404)


def test_404_after_the_task_has_expired(serve: Callable[..., Service]) -> None:
    service = serve("--expire-hours", "0.0003")  # a second and a bit
    task = service.imported("a/b")
    time.sleep(1.3)
    says(service.get(task["self"]), 404)
    assert service.get("/v2/tasks").json["tasks"] == []


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v2/tasks/x", "GET"),
        ("/v2/tasks", "GET, POST"),
        ("/v2/schemas/task", "GET"),
        ("/v2/images", "GET"),
        ("/", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS"])
def test_405_says_what_is_allowed(service: Service, method: str, path: str, allow: str) -> None:
    answer = service.request(method, path)
    says(answer, 405)
    assert answer.headers["allow"] == allow


def test_413_for_more_items_than_allowed(service: Service) -> None:
    for path in ("/v2/tasks", "/v2/images"):
        assert service.get(f"{path}?limit=1000").status == 200
        says(service.get(f"{path}?limit=1001"), 413, "413 Over Limit: ")
        says(service.get(f"{path}?limit={10**18 - 1}"), 413)
    says(service.request("POST", "/v2/tasks", {"type": "import", "input": {"a": "x" * 70_000}}), 413)


def test_415_for_a_body_that_is_not_json(service: Service) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    says(service.request("POST", "/v2/tasks", body=json.dumps(IMPORT).encode(), headers=headers), 415)
    assert service.get("/v2/tasks", headers=headers).status == 200  # glanceclient sends this
    with_charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert service.request("POST", "/v2/tasks", IMPORT, headers=with_charset).status == 201


def test_500_tells_nothing_but_where_to_look(serve: Callable[..., Service]) -> None:
    service = serve()
    task = service.imported("a/b")
    with sqlite3.connect(service.folder / "data/tasks.sqlite") as database:
        database.execute("UPDATE tasks SET input = 'no JSON'")
    database.close()
    answer = service.get(task["self"])
    says(answer, 500)
    assert "Traceback" not in answer.text
    request = answer.headers["x-openstack-request-id"]
    assert request in answer.text
    assert any(
        line["request"] == request and "JSONDecodeError" in line["exception"]
        for line in lines(service, "a request failed")
    )
    assert service.get("/healthz").status == 200


def test_503_when_too_many_tasks_wait(serve: Callable[..., Service]) -> None:
    service = serve("--max-waiting", "1", "--workers", "1")
    image = service.put("exports/large", fixed(300 * MIB).tobytes())
    answers = [
        service.request("POST", "/v2/tasks", {"type": "import", "input": {"import_from": image}}) for _ in range(9)
    ]
    answer = answers[-1]
    says(answer, 503)
    assert answers[0].status == 201
    assert service.request("POST", "/v2/tasks", IMPORT, token="other").status == 201, (
        "another tenant's tasks do not count"
    )
    assert int(answer.headers["retry-after"]) > 0


def test_503_when_the_database_is_gone_and_back_again(serve: Callable[..., Service]) -> None:
    service = serve()
    task = service.imported("a/b")
    path = service.folder / "data/tasks.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE tasks RENAME TO away")
        answer = service.get(task["self"])
        says(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
        says(service.get("/healthz"), 503)
        database.execute("ALTER TABLE away RENAME TO tasks")
    database.close()
    assert service.get(task["self"]).json == task
    assert service.imported("a/b")["status"] == "failure"


@pytest.mark.parametrize("path", ["/", "/versions", "/v2", "/v2/"])
@pytest.mark.parametrize("token", [None, "tok"])
def test_versions_need_no_token(service: Service, path: str, token: str | None) -> None:
    answer = service.get(path, token=token)
    assert answer.status == 200
    (version,) = answer.json["versions"]
    assert (version["id"], version["status"]) == ("v2.2", "CURRENT")
    assert version["links"] == [{"rel": "self", "href": "/v2/"}]


def test_schemas_describe_what_is_served(service: Service) -> None:
    import jsonschema

    task = service.imported(service.put("exports/schema", fixed(MIB).tobytes()))
    assert task["status"] == "success"
    schema = service.get("/v2/schemas/task").json
    assert schema["name"] == "task"
    assert set(task) <= set(schema["properties"])
    assert "export" in schema["properties"]["type"]["enum"]
    assert not {"required", "additionalProperties"} & set(schema)
    shown = {
        "task": task,
        "tasks": service.get("/v2/tasks").json,
        "image": service.get(f"/v2/images/{task['result']['image_id']}").json,
        "images": service.get("/v2/images").json,
    }
    for name, document in shown.items():
        jsonschema.validate(document, service.get(f"/v2/schemas/{name}").json)


def test_health_figures_and_log(service: Service) -> None:
    task = service.imported("exports/for-the-log")
    assert service.get("/healthz", token=None).json == {"status": "ok", "pending": 0, "processing": 0}
    figures = service.get("/metrics", token=None)
    assert figures.headers["content-type"].startswith("text/plain")
    assert re.search(r'vhdcheck_tasks_finished_total\{code="",status="failure",type="import"\} [1-9]', figures.text)
    assert 'route="/v2/tasks/{task_id}",status="200"' in figures.text
    assert task["id"] not in figures.text
    told = [line["message"] for line in lines(service) if line.get("task") == task["id"]]
    assert told == ["created", "taken up", "finished"]


def lines(service: Service, message: str = "") -> list[dict[str, Any]]:
    every = [json.loads(line) for line in service.log.splitlines()]
    return [line for line in every if message in line["message"]]


def test_a_first_start_prints_a_token_once(serve: Callable[..., Service], tmp_path: Path) -> None:
    service = serve(static=False)
    token = re.search(r"^token: (\S{32})$", service.printed, re.MULTILINE)
    assert token is not None
    assert service.get("/v2/tasks", token=token[1]).status == 200
    service.stop()
    kept = b"".join(path.read_bytes() for path in (service.folder / "data").iterdir() if path.is_file())
    assert token[1].encode() not in kept
    assert token[1] not in service.log
    service.start()
    assert "token" not in service.printed
    assert service.get("/v2/tasks", token=token[1]).status == 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "token = 1",
        '[[token]]\ntoken = "a"',
        '[[token]]\ntoken = ""\ntenant = "a"',
        '[[token]]\ntoken="a"\ntenant="../a"',
        '[[token]]\ntoken="a"\ntenant="a"\nrole="king"',
        "\x00",
        None,
    ],
)
def test_a_bad_file_of_tokens_is_refused_at_the_start(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    from vhdcheck.tasks.__main__ import main

    path = tmp_path / "tokens.toml"
    if text is not None:
        path.write_text(text)
    assert main(["serve", "--data", str(tmp_path / "data"), "--tokens", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
