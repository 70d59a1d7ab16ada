"""Settings and tokens: one name in three places, and what is wrong is said in a line that names the place."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.tasks.service import Service

pytest.importorskip("pydantic", reason="pydantic is not installed (extra tasks)")

from vhdcheck.errors import UsageError
from vhdcheck.tasks import configure
from vhdcheck.tasks.auth import Caller, StaticTokens
from vhdcheck.tasks.settings import Serving, Settings

GOOD = '[[token]]\ntoken = "a"\ntenant = "t"\n'
HASH = "0" * 64


def told(tmp_path: Path, text: str) -> str:
    """What is said of a file of tokens."""
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        StaticTokens.read(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "FILE: token: is missing"),
        ("token = []", "FILE:1: token: List should have at least 1 item"),
        ("token = 1", "FILE:1: token: should be a valid list"),
        (GOOD + 'roel = "observer"', "FILE:4: roel: unknown key, did you mean 'role'?"),
        (
            GOOD + "\n" + GOOD.replace('"a"', '"b"') + '\n# no king\nrole = "king"',
            "FILE:10: role: should be 'observer'",
        ),
        (GOOD.replace('"a"', '""'), "FILE:2: token: should have at least 1 character"),
        ('[[token]]\ntoken = "a"', "FILE:1: tenant: is missing"),
        ('[[token]]\ntenant = "t"', "FILE:1: token: a [[token]] has either token or sha256"),
        (GOOD + f'sha256 = "{HASH}"', "FILE:2: token: a [[token]] has either token or sha256"),
        ('[[token]]\ntenant = "t"\nsha256 = ""', "FILE:3: sha256: should be 64 hexadecimal digits"),
        ('[[token]]\ntenant = "t"\nsha256 = "abc123"', "FILE:3: sha256: should be 64 hexadecimal digits"),
        (f'[[token]]\ntenant = "t"\nsha256 = "{HASH}\\n"', "FILE:3: sha256: should be 64 hexadecimal digits"),
        ('[[token]]\ntenant = "../t"\ntoken = "a"', "FILE:2: tenant: should be 1 to 64 of letters, digits, - and _"),
        ("[[token]]\ntenant = 123\ntoken = 'a'", "FILE:2: tenant: should be a valid string"),
        (GOOD + GOOD, "FILE:5: token: stands for two callers"),
        (GOOD + "[tokens]\n", "FILE:4: tokens: unknown key, did you mean 'token'?"),
        ('token = [{tenant = "t", token = "a", rule = "admin"}]', "FILE:1: rule: unknown key, did you mean 'role'?"),
        ("\x00", "FILE: not TOML: Invalid statement (at line 1, column 1)"),
        ("x = " + "[" * 100_000, "FILE: not TOML"),
        ("#" * 2_000_000, "FILE: longer than"),
    ],
)
def test_what_is_wrong_with_tokens_is_said_with_file_line_and_key(tmp_path: Path, text: str, error: str) -> None:
    assert told(tmp_path, text).startswith(error)


def test_an_error_does_not_tell_the_token(tmp_path: Path) -> None:
    assert "s3cret" not in told(tmp_path, '[[token]]\ntoken = "s3cret"\ntenant = "t"\nsha256 = "s3cret"\nx = "s3cret"')


async def _caller(tokens: StaticTokens, token: str) -> Caller | None:
    return await tokens.caller(token)


def test_the_role_that_is_not_said_is_the_least(tmp_path: Path) -> None:
    import asyncio

    path = tmp_path / "tokens.toml"
    digest = hashlib.sha256(b"b").hexdigest().upper()
    path.write_text(GOOD + f'[[token]]\nsha256 = "{digest}"\ntenant = "t"\nrole = "admin"\nuser = "u"\n')
    tokens = StaticTokens.read(path)
    assert asyncio.run(_caller(tokens, "a")) == Caller("t", "observer")
    assert asyncio.run(_caller(tokens, "b")) == Caller("t", "admin", "u")
    assert asyncio.run(_caller(tokens, "c")) is None


def test_every_setting_has_one_name_in_three_places(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    values = {"max_waiting": 7, "expire_hours": 1, "host": "::1", "log_level": "error", "max_connections": 9}
    path.write_text("".join(f"{name.replace('_', '-')} = {value!r}\n" for name, value in values.items()))
    serving, settings = configure.settings({}, {}, path)
    assert {name: getattr(serving, name, None) or getattr(settings, name, None) for name in values} == values
    variables = {f"VHDCHECK_TASKS_{name.upper()}": str(value) for name, value in values.items()}
    assert configure.settings({}, variables, None) == (serving, settings)
    assert configure.settings({name: str(value) for name, value in values.items()}, {}, None) == (serving, settings)


def test_the_command_line_comes_first_then_the_environment_then_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("workers = 3\nmax-waiting = 3\nmax-attempts = 3\n")
    variables = {"VHDCHECK_TASKS_WORKERS": "2", "VHDCHECK_TASKS_MAX_WAITING": "2"}
    _, settings = configure.settings({"workers": "1", "max_waiting": None}, variables, path)
    assert (settings.workers, settings.max_waiting, settings.max_attempts) == (1, 2, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("workers", "max-waiting", "max-attempts")
            for value in ("0", "-1", "1.5", "x", "")
        ),
        *(
            (name, value)
            for name in ("expire-hours", "lease-seconds", "grace-seconds", "request-seconds")
            for value in ("nan", "inf", "-1", "1e400", "x")
        ),
        *((name, "0") for name in ("expire-hours", "lease-seconds", "request-seconds")),
        ("port", "-1"),
        ("port", "65536"),
        ("log-level", "loud"),
        ("executor", "tcp://host:1"),
        ("executor", "dask://"),
        ("keystone", "ftp://host"),
        ("max-virtual-size", "40 potatoes"),
        ("max-connections", "0"),
        ("host", ""),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_wherever_it_stands(tmp_path: Path, name: str, value: str) -> None:
    field = name.replace("-", "_")
    variable = f"VHDCHECK_TASKS_{field.upper()}"
    path = tmp_path / "settings.toml"
    try:
        float(value)
    except ValueError:
        written = repr(value)
    else:
        written = value
    path.write_text(f"# settings\n{name} = {written}\n")
    places: list[tuple[str, tuple[Any, ...]]] = [
        (f"--{name}: ", ({field: value}, {}, None)),
        (f"{variable}: ", ({}, {variable: value}, None)),
        (f"{path}:2: {name}: ", ({}, {}, path)),
    ]
    for place, given in places:
        with pytest.raises(UsageError) as caught:
            configure.settings(*given)
        assert str(caught.value).startswith(place)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("\nmax_waiting = 1", "FILE:2: max_waiting: unknown key, did you mean 'max-waiting'?"),
        ("workers = true", "FILE:1: workers: should be a number, not true or false"),
        ("[serve]\nport = 1", "FILE:1: serve: unknown key"),
        ("port = [1]", "FILE:1: port: should be a valid integer"),
        ("port = 1\nport = 2", "FILE: not TOML: Cannot overwrite a value"),
    ],
)
def test_a_file_of_settings_with_a_mistake(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        configure.settings({}, {}, path)
    assert str(caught.value).replace(str(path), "FILE").startswith(error)


def test_a_variable_that_is_misspelt_is_refused() -> None:
    with pytest.raises(UsageError, match=r"MAXWAITING: no such setting, did you mean 'VHDCHECK_TASKS_MAX_WAITING'\?"):
        configure.settings({}, {"VHDCHECK_TASKS_MAXWAITING": "1"}, None)
    configure.settings({}, {"VHDCHECK_TASKS_CONFIG": "x", "VHDCHECK_OTHER": "y"}, None)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        configure.settings({"port": "x", "workers": "0"}, {"VHDCHECK_TASKS_LOG_LEVEL": "loud"}, None)
    assert len(str(caught.value).splitlines()) == 3


def test_no_setting_has_two_owners() -> None:
    assert not set(Serving.model_fields) & set(Settings.model_fields)


def start(folder: Path, *options: str, **environment: str) -> str:
    """Start a service that must not start; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "vhdcheck.tasks", "serve", "--port", "0", "--data", "data", *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--database", "nonsense"], "database: not a URL"),
        (["--database", "oracle://host/x"], "oracle is not supported: postgresql or sqlite"),
        (["--database", "strange://host/x"], "strange is not supported"),
        (["--database", "postgresql://user:s3cret@127.0.0.1:1/tasks"], "onnection refused"),
        (["--database", "sqlite:////nowhere/at/all.sqlite"], "unable to open database file"),
        (["--executor", "dask://127.0.0.1:1"], "cannot reach the scheduler"),
        (["--log-level", "loud"], "--log-level: should be 'debug'"),
        (["--workers", "nan"], "--workers: should be a valid integer"),
        (["--target", "nowhere"], "unknown target 'nowhere'"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--config", "none.toml"], "none.toml: No such file"),
        (["--tokens", "none.toml"], "none.toml: No such file"),
        (["--data", "/proc/x"], "/proc/x"),
    ],
)
def test_what_stands_in_the_way_of_a_start_is_said_in_a_line(tmp_path: Path, options: list[str], words: str) -> None:
    said = start(tmp_path, *options)
    assert words in said
    assert "s3cret" not in said
    last = said.splitlines()[-1]
    assert last.startswith("vhdcheck.tasks: ")


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "ddress already in use" in start(tmp_path, "--port", str(taken.getsockname()[1]))
    assert not (tmp_path / "data" / "tasks.sqlite").exists()


def test_settings_of_the_environment_and_of_a_file_reach_the_service(
    serve: Callable[..., Service], tmp_path: Path
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("max-waiting = 1\nlog-level = 'warning'\n")
    service = serve("--config", str(path), VHDCHECK_TASKS_EXPIRE_HOURS="1")
    task = service.imported("a/b")
    hours = [int(task[name][11:13]) for name in ("updated_at", "expires_at")]
    assert (hours[1] - hours[0]) % 24 == 1
    assert service.log == ""


@pytest.mark.parametrize(("module", "extra"), [("pydantic", "tasks"), ("uvicorn", "tasks"), ("alembic", "tasks")])
def test_a_missing_extra_is_named(tmp_path: Path, module: str, extra: str) -> None:
    (tmp_path / module).mkdir()
    missing = f'raise ModuleNotFoundError("No module named {module}", name="{module}")'
    (tmp_path / module / "__init__.py").write_text(missing)
    said = start(tmp_path, PYTHONPATH=str(tmp_path))
    assert f"{module} is missing: install vhdcheck with its extra {extra}" in said


def test_a_missing_driver_of_postgresql_is_named(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError(\"No module named 'psycopg'\", name='psycopg')")
    said = start(tmp_path, "--database", "postgresql://localhost/x", PYTHONPATH=str(tmp_path))
    assert "psycopg is missing: install vhdcheck with its extra postgresql" in said
