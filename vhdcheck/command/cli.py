"""The command: arguments, exit status, and what is written where."""

from __future__ import annotations

import argparse
import os
import sys

from vhdcheck import report
from vhdcheck.command.deferred import UNUSED, deferred
from vhdcheck.terminal.arguments import Parser
from vhdcheck.terminal.ending import exit_status
from vhdcheck.version import __version__

TYPE_CHECKING = False  # typing takes 3 of the 35 ms that --help has (tests/cost holds it)
if TYPE_CHECKING:
    from typing import Final

EPILOG: Final = """\
exit status: 0 all images accepted, 1 an image refused, 2 an image could not be checked (or none was found).
sizes: 40GiB, 1.5TiB, 160GB (the same as 160GiB), 512B, or a number of bytes.
colours: on a terminal, unless NO_COLOR is set.
vhdcheck-mend IMAGE -o COPY writes a copy that would be accepted, where the image allows it. vhdcheck-tasks serves image
tasks over HTTP (extra tasks). Each has a --help of its own.
"""

SHELLS: Final = ("bash", "fish", "tcsh", "zsh")


def parser() -> argparse.ArgumentParser:
    """Declare the arguments."""
    parser = Parser(
        prog="vhdcheck",
        description="Tell whether VHD images would be accepted, and if not, exactly why.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="image, URL, pattern (*.vhd, s3://bucket/*.vhd), folder to search for .vhd and .avhd images (of a store:"
        " s3://bucket/folder/), or - for standard input",
    )
    parser.add_argument(
        "--files-from", metavar="FILE", help="check what FILE lists too, a path a line; - for standard input"
    )
    parser.add_argument("-0", "--null", action="store_true", help="in that list a NUL ends each path (find -print0)")
    parser.add_argument(
        "--target",
        help=f"destination to judge for, rackspace by default: {', '.join(_targets())}, or the path of a TOML file;"
        " generic is the format alone",
    )
    parser.add_argument("--max-virtual-size", metavar="SIZE", help="limit on the disk's size, instead of the target's")
    parser.add_argument(
        "--max-physical-size", metavar="SIZE", help="limit on the file's length, instead of the target's"
    )
    parser.add_argument(
        "--stdin-filename", metavar="NAME", default="<stdin>", help="what to call the image that - reads"
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="download images from servers that do not send parts, up to the target's physical limit",
    )
    parser.add_argument("--deep", action="store_true", help="read the sector bitmaps of all blocks too (no guest data)")
    parser.add_argument(
        "--parent",
        action="append",
        default=[],
        metavar="FILE",
        help="a parent of a differencing disk, or a parent of that; may be repeated. Parents are found by unique ID",
    )
    parser.add_argument(
        "--parents",
        action="append",
        default=[],
        metavar="FOLDER",
        help="find parents among the images of a folder too; no path that an image names is opened",
    )
    parser.add_argument(
        "--chains",
        action="store_true",
        help="draw which image is whose parent instead of checking for a destination; as text, html or json",
    )
    parser.add_argument("--map", action="store_true", help="draw where the blocks lie, and list the file's regions")
    workers = parser.add_mutually_exclusive_group()
    workers.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="check N images at a time: files in N processes, URLs in threads",
    )
    workers.add_argument(
        "--executor",
        metavar="dask://HOST:PORT",
        help="check on a dask cluster, whose workers have vhdcheck and see the same files",
    )
    parser.add_argument(
        "--format",
        choices=report.names(),
        default="text",
        help="form of the report (default: text); with jsonl and line, a line for each image at once, the summary goes"
        " to standard error",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="leave out images that do not fail the run; the summary counts them"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write the report there, whole or not at all, and only the summary here"
    )
    parser.add_argument(
        "--resume", metavar="FILE", help="leave out what FILE, the jsonl of an earlier run, has a line for"
    )
    parser.add_argument(
        "--select",
        action="append",
        metavar="RULES",
        help="only these rules count: VHD103, footer-checksum, VHD1 for all that begin so; with commas, or repeated",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        metavar="RULES",
        help="these rules do not count; the summary says how many findings",
    )
    parser.add_argument(
        "--fail-on", choices=("error", "warning"), help="the least that makes the exit status 1 (default: error)"
    )
    parser.add_argument("--exit-zero", action="store_true", help="exit with 0 instead of 1; 2 stays 2")
    parser.add_argument("--skip-text", action="store_true", help="leave out named files too that are text: VHDL source")
    configuration = parser.add_mutually_exclusive_group()
    configuration.add_argument(
        "--config",
        metavar="FILE",
        help="read [tool.vhdcheck] there, instead of in the nearest pyproject.toml that has it",
    )
    configuration.add_argument("--no-config", action="store_true", help="read no configuration")
    parser.add_argument("--rules", action="store_true", help="list all rules and exit")
    parser.add_argument(
        "--explain", metavar="RULE", help="explain a rule (VHD103, footer-checksum) or a code (413), and exit"
    )
    parser.add_argument("--completions", choices=SHELLS, help="print a script that makes a shell complete, and exit")
    parser.add_argument("--version", action="version", version=f"vhdcheck {__version__}")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: instead of the process's own.

    Returns:
        The exit status.
    """
    # numpy starts a thread pool for linear algebra, of which there is none here; without it, it loads 16 % faster.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return exit_status("vhdcheck", lambda: _parsed_and_run(arguments))


def _parsed_and_run(arguments: list[str] | None) -> int:
    with deferred(*UNUSED):
        parsed = parser().parse_args(arguments)
    return _run(parsed)


def _targets() -> list[str]:
    """List the targets: `vhdcheck.targets.names` without what a Target needs."""
    files = os.listdir(os.path.join(os.path.dirname(os.path.dirname(__file__)), "targets"))
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.rules or arguments.explain is not None:
        from vhdcheck.report.explain import catalogue, explain

        print(catalogue() if arguments.rules else explain(arguments.explain))
        return 0
    if arguments.completions is not None:
        from pathlib import Path  # not needed for --help

        script = Path(__file__).parent / "completions" / arguments.completions
        sys.stdout.write(script.read_text(encoding="utf-8"))
        return 0
    with deferred(*UNUSED):
        from vhdcheck.command.options import options  # all the rest
        from vhdcheck.command.run import run

    return run(options(arguments), sys.stdout, sys.stderr)
