"""The command: `python -m vhdcheck.tasks serve`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vhdcheck.errors import VhdcheckError
from vhdcheck.redaction import without_urls
from vhdcheck.terminal.arguments import Parser, called

PREFIX = "VHDCHECK_TASKS_"
CONFIG = "TOML file of settings, named as the options are: max-waiting = 50"


def parser() -> argparse.ArgumentParser:
    """Make the parser. It takes every value as it is: what is wrong with one is said with those of the file."""
    made = Parser(prog=called("vhdcheck-tasks", "vhdcheck.tasks"), description="The image task service.")
    serve = made.add_subparsers(required=True, metavar="serve").add_parser(
        "serve",
        help="serve the API",
        description="Serve the API. A setting is an option, or an environment variable"
        f" ({PREFIX}MAX_WAITING=50), or a key of the file (max-waiting = 50); the first of these counts.",
    )
    _add_options(serve)
    return made


def _add_options(serve: argparse.ArgumentParser) -> None:
    from vhdcheck.tasks.configure import FIELDS

    serve.add_argument("--config", metavar="CONFIG", help=CONFIG)
    for name, field in FIELDS.items():
        flag = f"--{name.replace('_', '-')}"
        usual = "" if field.default in ("", None, False) else f" (default: {field.default})"
        told = f"{field.description}{usual}".replace("%", "%%")
        if field.annotation is bool:
            serve.add_argument(flag, help=told, action="store_const", const="true")
            continue
        serve.add_argument(flag, help=told, metavar=name.upper())


def serve_options() -> list[argparse.Action]:
    """List the options of `serve`, for the documents."""
    alone = argparse.ArgumentParser(add_help=False)
    _add_options(alone)
    return alone._actions  # noqa: SLF001


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    try:
        given = vars(parser().parse_args(arguments))
        from vhdcheck.tasks import configure, server

        config = given.pop("config") or os.environ.get(f"{PREFIX}CONFIG")
        server.serve(*configure.settings(given, os.environ, Path(config) if config else None))
    except (VhdcheckError, OSError) as error:
        for line in str(error).splitlines():
            print(f"vhdcheck.tasks: {without_urls(line, sys.argv)}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(
            f"vhdcheck.tasks: {error.name} is missing: install vhdcheck with its extra {_extra(error)}", file=sys.stderr
        )
        return 2
    return 0


def _extra(error: ImportError) -> str:
    """Say which extra brings a module."""
    name = (error.name or "").partition(".")[0]
    return {"keystoneauth1": "keystone", "cachetools": "keystone", "psycopg": "postgresql"}.get(name, "tasks")


if __name__ == "__main__":
    sys.exit(main())
