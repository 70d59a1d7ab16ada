"""Services and databases, started for the tests; each module of tests skips by name what is not installed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tasks.service import Service, postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True, scope="session")
def extras() -> None:
    """Skip where the service is not installed."""
    for module in ("sqlalchemy", "starlette", "uvicorn", "jinja2", "prometheus_client"):
        pytest.importorskip(module, reason=f"{module} is not installed (extra tasks)")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services; each in a folder of its own, unless it is told one."""
    started: list[Service] = []

    def start(*options: str, folder: Path | None = None, static: bool = True, **environment: str) -> Service:
        place = folder or tmp_path / f"service-{len(started)}"
        place.mkdir(exist_ok=True)
        service = Service(place, list(options), environment, static)
        started.append(service)
        return service.start()

    yield start
    for service in started:
        service.__exit__()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for a module of tests."""
    with Service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL; its socket's path must be short, and open to its user."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with postgresql(folder / "s") as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tasks.sqlite'}"
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    url: str = request.getfixturevalue("postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return url
