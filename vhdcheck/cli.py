"""The command: arguments, exit status, and what is written where."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

import vhdcheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.findings import Failure, Report
    from vhdcheck.inputs import Walk
    from vhdcheck.report.results import Results
    from vhdcheck.targets import Target

EPILOG: Final = """\
exit status: 0 all images accepted, 1 an image refused, 2 an image could not be checked (or none was found).
sizes: 40GiB, 1.5TiB, 160GB (the same as 160GiB), or bytes. Colours: on a terminal, unless NO_COLOR is set.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments; `*.vhd` may have put file names of a stranger among them."""
        from vhdcheck.report.results import printable  # noqa: PLC0415

        super().error(printable(message))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Write out the text of --help and --version first, while a failure can still be told."""
        sys.stdout.flush()
        super().exit(status, message)


def parser() -> argparse.ArgumentParser:
    """Declare the arguments."""
    parser = _Parser(
        prog="vhdcheck",
        description="Tell whether VHD images would be accepted, and if not, exactly why.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="image, URL, folder to search for .vhd and .avhd images, or - for standard input",
    )
    parser.add_argument(
        "--target",
        default="rackspace",
        help="destination to judge for: rackspace (default), azure, aws, xenserver, hyper-v, generic (the format"
        " alone), or the path of a TOML file",
    )
    parser.add_argument("--max-virtual-size", metavar="SIZE", help="limit on the disk's size, instead of the target's")
    parser.add_argument(
        "--max-physical-size", metavar="SIZE", help="limit on the file's length, instead of the target's"
    )
    parser.add_argument(
        "--stdin-filename", metavar="NAME", default="<stdin>", help="what to call the image that - reads"
    )
    parser.add_argument(
        "--download", action="store_true", help="download whole images from servers that do not send parts"
    )
    parser.add_argument("--deep", action="store_true", help="read the sector bitmaps of all blocks too (no guest data)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="form of the report (default: text)")
    parser.add_argument("--rules", action="store_true", help="list all rules and exit")
    parser.add_argument(
        "--explain", metavar="RULE", help="explain a rule (VHD103, footer-checksum) or a code (413), and exit"
    )
    parser.add_argument("--version", action="version", version=f"vhdcheck {vhdcheck.__version__}")
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
    if sys.stdout is None:  # Python's word for a descriptor that was closed when it started
        print("vhdcheck: cannot write: standard output is closed", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from vhdcheck.errors import SourceError, UsageError  # noqa: PLC0415 (not needed for --help)

    try:
        status = _run(parser().parse_args(arguments))
        sys.stdout.flush()  # here, where a failure can still be told
    except (UsageError, SourceError) as error:
        _complain(str(error))
        return 2
    except BrokenPipeError:
        _discard_output()  # the reader has seen enough
        return 2
    except OSError as error:
        _complain(f"cannot write: {error.strerror or error}")
        _discard_output()
        return 2
    except KeyboardInterrupt:
        _complain("interrupted")
        _discard_output()
        return 130
    return status


def _complain(text: str) -> None:
    from vhdcheck.report.results import printable  # noqa: PLC0415

    print(f"vhdcheck: {printable(text)}", file=sys.stderr)


def _discard_output() -> None:
    """Drop what could not be written: Python would try again at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> int:
    if options.rules or options.explain is not None:
        from vhdcheck.report.explain import catalogue, explain  # noqa: PLC0415

        print(catalogue() if options.rules else explain(options.explain))
        return 0
    from vhdcheck.errors import UsageError  # noqa: PLC0415

    if not options.paths:
        raise UsageError("name an image or a folder (see --help)")
    if "-" in options.paths and len(options.paths) > 1:
        raise UsageError("- reads one image from standard input, and goes alone")
    from vhdcheck import targets  # noqa: PLC0415
    from vhdcheck.inputs import Walk  # noqa: PLC0415
    from vhdcheck.report.results import Results  # noqa: PLC0415

    target = targets.load(
        options.target, max_virtual_size=options.max_virtual_size, max_physical_size=options.max_physical_size
    )
    walk, results = Walk(), Results()
    checked = _checked(options, target, walk, results)
    if options.format == "json":
        from vhdcheck.report.json import document  # noqa: PLC0415

        print(document(list(checked), results, target))
    else:
        _write_text(options, checked, results, sys.stdout)
    return results.exit_status


def _checked(options: argparse.Namespace, target: Target, walk: Walk, results: Results) -> Iterator[Report | Failure]:
    """Check each image, and go on when one cannot be."""
    from vhdcheck.checking import check  # noqa: PLC0415
    from vhdcheck.errors import SourceError  # noqa: PLC0415
    from vhdcheck.findings import Failure  # noqa: PLC0415
    from vhdcheck.urls import redacted  # noqa: PLC0415

    result: Report | Failure
    if options.paths == ["-"]:
        from vhdcheck.stdin import check_stdin  # noqa: PLC0415 (streams need more)

        result = check_stdin(target, deep=options.deep, name=options.stdin_filename)
        results.add(result)
        yield result
        return
    for path in walk.images(options.paths):
        try:
            result = check(path, target=target, deep=options.deep, download=options.download)
        except SourceError as error:
            name = redacted(path)
            result = Failure(name, str(error).removeprefix(f"{name}: "))
        results.add(result)
        yield result
    for name, reason in walk.problems:
        result = Failure(name, reason)
        results.add(result)
        yield result
    results.skipped_texts = walk.skipped_texts


def _write_text(
    options: argparse.Namespace, checked: Iterator[Report | Failure], results: Results, output: TextIO
) -> None:
    from vhdcheck.inputs import is_folder  # noqa: PLC0415
    from vhdcheck.report.text import TextReport  # noqa: PLC0415

    colour = output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    single = len(options.paths) == 1 and not is_folder(options.paths[0])
    report = TextReport(colour=colour, brief=not single)
    for result in checked:
        for line in report.image(result):
            print(line, file=output)
    for line in report.summary(results):
        print(line, file=output)
