"""The command: `python -m vhdcheck.tasks serve`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhdcheck.errors import VhdcheckError
from vhdcheck.sources.urls import is_url
from vhdcheck.tasks.settings import Settings
from vhdcheck.terminal.arguments import called

if TYPE_CHECKING:
    from vhdcheck.tasks.auth import Auth

PREFIX = "VHDCHECK_TASKS_"
OWN: dict[str, tuple[type, Any, str]] = {
    "host": (str, "127.0.0.1", "address to listen on"),
    "port": (int, 9292, "port to listen on; 0: any"),
    "tokens": (Path, None, "TOML file of tokens; without it one is made, and printed once"),
    "keystone": (str, "", "URL of a Keystone to ask for tokens instead; its credentials are OS_USERNAME, ..."),
    "log_level": (str, "info", "debug, info, warning or error"),
}
HELP = {
    "data": "folder for what has no other place",
    "database": "URL of SQLAlchemy: postgresql://...; default: SQLite in the folder of data",
    "objects": "folder or fsspec URL of the containers; {tenant} stands for the tenant",
    "images": "folder or fsspec URL of the imported images",
    "target": "destination to judge for",
    "max_virtual_size": "the target's limit, overridden: 160GiB",
    "max_physical_size": "the target's limit, overridden",
    "workers": "tasks done at the same time",
    "executor": "dask://HOST:PORT: have a cluster do the work",
    "max_waiting": "pending tasks beyond which POST answers 503",
    "expire_hours": "how long a task can be seen after it has ended",
    "lease_seconds": "after how long without a sign of life a task is another worker's",
    "max_attempts": "times that a task is taken up before it fails",
    "grace_seconds": "how long a shutdown waits for the work under way",
}


def parser() -> argparse.ArgumentParser:
    """Make the parser: what an option does not say, the environment may."""
    made = argparse.ArgumentParser(
        prog=called("vhdcheck-tasks", "vhdcheck.tasks"), description="The image task service."
    )
    serve = made.add_subparsers(required=True, metavar="serve").add_parser(
        "serve",
        help="serve the API",
        description=f"Serve the API. Each option may be an environment variable instead: {PREFIX}PORT, ...",
    )
    _add_options(serve)
    return made


def _add_options(serve: argparse.ArgumentParser) -> None:
    options = {field.name: (_type(field.default), field.default, HELP[field.name]) for field in fields(Settings)}
    for name, (kind, usual, text) in {**OWN, **options}.items():
        default = os.environ.get(PREFIX + name.upper(), usual)
        told = (
            text if usual in ("", None) else f"{text} (default: {usual})"
        )  # never the environment's: it may be secret
        serve.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=told, metavar=name.upper())


def serve_options() -> list[argparse.Action]:
    """List the options of `serve`, for the documents."""
    alone = argparse.ArgumentParser(add_help=False)
    _add_options(alone)
    return alone._actions  # noqa: SLF001


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    given = vars(parser().parse_args(arguments))
    given["data"] = Path(given["data"]).absolute()  # workers elsewhere have other working directories
    for name in ("objects", "images"):
        if given[name] and not is_url(given[name]):
            given[name] = str(Path(given[name]).absolute())
    try:
        _serve({name: given.pop(name) for name in OWN}, Settings(**given))
    except (VhdcheckError, OSError) as error:
        print(f"vhdcheck.tasks: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f'vhdcheck.tasks: {error.name} is missing: pip install "vhdcheck[tasks]"', file=sys.stderr)
        return 2
    return 0


def _type(default: object) -> type:
    return str if default is None else type(default) if not isinstance(default, Path) else Path


def _serve(own: dict[str, Any], settings: Settings) -> None:
    import uvicorn  # noqa: PLC0415 (extras, and 200 ms, that --help does not need)

    from vhdcheck.engine.check import resolve  # noqa: PLC0415
    from vhdcheck.tasks.api import Service  # noqa: PLC0415
    from vhdcheck.tasks.observe import Metrics, log_to_stderr  # noqa: PLC0415
    from vhdcheck.tasks.store import TaskStore  # noqa: PLC0415
    from vhdcheck.tasks.worker import Dispatcher  # noqa: PLC0415

    resolve(settings.target, settings.max_virtual_size, settings.max_physical_size)
    log_to_stderr(own["log_level"])
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    auth = _auth(own, settings)
    store = TaskStore(settings.database_url)
    metrics = Metrics(store.counts)
    service = Service(settings, store, auth, Dispatcher(store, settings, metrics), metrics)
    config = uvicorn.Config(
        service.application(),
        host=own["host"],
        port=own["port"],
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(int(settings.grace_seconds), 1),
    )
    _Announcing(config).run()


class _Announcing:
    """Runs a server, and prints where it listens once it does."""

    def __init__(self, config: Any) -> None:  # noqa: ANN401 (uvicorn is an extra)
        self._config = config

    def run(self) -> None:
        import uvicorn  # noqa: PLC0415

        class Server(uvicorn.Server):
            async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401
                await super().startup(sockets)
                if self.started:
                    host, port = self.servers[0].sockets[0].getsockname()[:2]
                    print(f"listening: http://{host}:{port}", flush=True)

        Server(self._config).run()


def _auth(own: dict[str, Any], settings: Settings) -> Auth:
    from vhdcheck.tasks import auth  # noqa: PLC0415

    if own["keystone"]:
        from vhdcheck.tasks.keystone import Keystone  # noqa: PLC0415 (an extra)

        return Keystone(own["keystone"], os.environ)
    if own["tokens"]:
        tokens = auth.StaticTokens.read(Path(own["tokens"]))
    else:
        tokens, first = auth.StaticTokens.first(settings.data)
        if first:
            print(f"token: {first}\nIt is tenant {auth.FIRST_TENANT}'s, and is not shown again.", flush=True)
    if not settings.objects:
        for tenant in tokens.tenants:
            (settings.data / "objects" / tenant).mkdir(parents=True, exist_ok=True)
    return tokens


if __name__ == "__main__":
    sys.exit(main())
