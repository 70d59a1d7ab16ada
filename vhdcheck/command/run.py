"""A run of the command: which images, checked by what, written how."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vhdcheck import targets
from vhdcheck.command.config import complete, selection
from vhdcheck.command.inputs import Walk, expanded, is_folder, is_pattern, listed_in
from vhdcheck.engine.audit import audit
from vhdcheck.errors import UsageError
from vhdcheck.report import DOCUMENTS, document
from vhdcheck.report.results import Results
from vhdcheck.sources.urls import is_url
from vhdcheck.verdict.finding import Severity
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from vhdcheck.command.config import Selection
    from vhdcheck.targets import Target
    from vhdcheck.verdict.report import Report


def run(options: argparse.Namespace, output: TextIO, errors: TextIO) -> int:
    """Check what the arguments name, and write the reports.

    Args:
        options: the parsed arguments.
        output: where reports go.
        errors: where progress goes, and the summary where it is not in `output`.

    Returns:
        The exit status.

    Raises:
        UsageError: arguments or a configuration that make no sense, alone or together.
        SourceError: a target, a configuration, a list or an earlier run's file cannot be read, the output not be
            written, or a cluster not be reached.
    """
    _validate(options)
    complete(options)
    selected = selection(options.select, options.ignore)
    target = targets.load(
        options.target, max_virtual_size=options.max_virtual_size, max_physical_size=options.max_physical_size
    )
    results = Results(
        fail_on=Severity[options.fail_on.upper()], exit_zero=options.exit_zero, texts_suffice=options.skip_text
    )
    if options.resume is not None:
        from vhdcheck.command.resume import read  # noqa: PLC0415 (json)

        results.before = read(options.resume)
    try:
        with _opened(options, output) as file:
            _run(options, target, selected, results, output=file, errors=errors)
    except KeyboardInterrupt:
        _summarise(options, results, errors)
        raise
    _summarise(options, results, errors)
    return results.exit_status


def _opened(options: argparse.Namespace, output: TextIO) -> AbstractContextManager[TextIO]:
    """Open what `--output` names; without it, the standard output."""
    if options.output is None:
        return nullcontext(output)
    from vhdcheck.command.output import appending, refuse_image, replacing  # noqa: PLC0415 (seldom)

    path = Path(options.output)
    refuse_image(path, options.paths)
    if options.format != "jsonl":
        return replacing(path)
    # An interrupted run leaves whole lines, and the one that resumes it goes on behind them.
    again = options.resume is not None and path.exists() and path.samefile(options.resume)
    return appending(path, empty=not again)


def _run(
    options: argparse.Namespace,
    target: Target,
    selected: Selection,
    results: Results,
    *,
    output: TextIO,
    errors: TextIO,
) -> None:
    with ExitStack() as stack:
        checked = _counted(_checked(options, target, results, stack), selected, results)
        if errors.isatty() and (options.format in DOCUMENTS or not output.isatty()):
            from vhdcheck.command.progress import watching  # noqa: PLC0415 (threading)

            checked = stack.enter_context(watching(checked, results, errors))
        if options.format in DOCUMENTS:
            named = {"with_map": options.map} if options.format == "json" else {}
            output.write(document(options.format)(list(checked), results, target, **named) + "\n")
        elif options.format == "jsonl":
            _write_lines(options, checked, results, output)
        else:
            _write_text(options, checked, results, output)


def _counted(checked: Iterator[Report | Failure], selected: Selection, results: Results) -> Iterator[Report | Failure]:
    for result in map(selected.of, checked):
        results.add(result)
        yield result


def _summarise(options: argparse.Namespace, results: Results, errors: TextIO) -> None:
    """Write what a run came to where its report does not say so to whoever looks on."""
    if options.format == "jsonl" or options.output is not None:
        from vhdcheck.report.text import TextReport  # noqa: PLC0415 (report.describe)

        errors.writelines(f"{line}\n" for line in TextReport(colour=False).summary(results))
        errors.flush()


def _validate(options: argparse.Namespace) -> None:
    if not options.paths and options.files_from is None:
        raise UsageError("name an image or a folder (see --help)")
    if "-" in options.paths and (len(options.paths) > 1 or options.files_from is not None):
        raise UsageError("- reads one image from standard input, and goes alone")
    if options.null and options.files_from is None:
        raise UsageError("-0 goes with --files-from")
    if options.jobs < 1:
        raise UsageError("--jobs takes a number from 1 on")
    if options.resume is not None and options.format in DOCUMENTS:
        raise UsageError("--resume goes with --format jsonl or text: one document cannot be added to")


def _checked(
    options: argparse.Namespace, target: Target, results: Results, stack: ExitStack
) -> Iterator[Report | Failure]:
    """Check each image, and go on when one cannot be."""
    allocation = options.map or options.format == "html"
    if options.paths == ["-"]:
        from vhdcheck.command.stdin import check_stdin  # noqa: PLC0415 (streams need more)

        yield check_stdin(target, deep=options.deep, allocation=allocation, name=options.stdin_filename)
        return
    walk = Walk(skip_named_texts=options.skip_text)
    sources = _sources(options, walk, results)
    first = next(sources, None)
    if first is not None:
        how = _workers(options, first, stack)
        yield from audit(
            chain([first], sources),
            target=target,
            deep=options.deep,
            allocation=allocation,
            download=options.download,
            **how,
        )
    for name, reason in walk.problems:
        yield Failure(name, reason)
    results.skipped_texts = walk.skipped_texts


def _sources(options: argparse.Namespace, walk: Walk, results: Results) -> Iterator[str]:
    """Yield what there is to check, as it is found, without what was done before."""
    listed = () if options.files_from is None else listed_in(options.files_from, null=options.null)
    for source in walk.images(chain(expanded(options.paths), listed)):
        # A cluster's worker has another working directory.
        path = os.path.abspath(source) if options.executor and not is_url(source) else source  # noqa: PTH100 (links stay)
        if not results.before.has(path):
            yield path


def _workers(options: argparse.Namespace, first: str, stack: ExitStack) -> dict[str, Any]:
    """Choose what checks, by the first source: URLs wait for servers, files keep processors busy."""
    if options.executor is not None:
        from vhdcheck.engine.executors import dask  # noqa: PLC0415 (multiprocessing)

        executor, threads = stack.enter_context(dask(options.executor))
        return {"executor": executor, "window": 4 * max(threads, 1)}
    if options.jobs == 1:
        return {}
    if is_url(first):
        return {"executor": stack.enter_context(_threads(options.jobs)), "batch": 1, "window": 2 * options.jobs}
    from vhdcheck.engine.executors import processes  # noqa: PLC0415 (multiprocessing)

    return {"executor": stack.enter_context(processes(options.jobs)), "window": 4 * options.jobs}


@contextmanager
def _threads(number: int) -> Iterator[Executor]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (logging, threading)

    executor = ThreadPoolExecutor(number)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # at the end nothing is left, at an interrupt nobody waits


def _write_lines(
    options: argparse.Namespace, checked: Iterator[Report | Failure], results: Results, output: TextIO
) -> None:
    """Write a line for each image, at once, so that a run that is ended leaves whole lines."""
    from vhdcheck.report.json import line  # noqa: PLC0415 (json)

    if results.before.torn and _is_same_file(options.resume, output):
        output.write("\n")
    for result in checked:
        output.write(line(result, with_map=options.map))
        output.flush()


def _is_same_file(name: str, output: TextIO) -> bool:
    with suppress(OSError):  # an output without a descriptor
        return os.path.samestat(os.stat(name), os.fstat(output.fileno()))  # noqa: PTH116
    return False


def _write_text(
    options: argparse.Namespace, checked: Iterator[Report | Failure], results: Results, output: TextIO
) -> None:
    from vhdcheck.report.text import TextReport  # noqa: PLC0415

    drawn = None
    if options.map:
        from vhdcheck.report.map import signs  # noqa: PLC0415 (only where asked for)

        drawn = signs(output.encoding)
    colour = output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    report = TextReport(colour=colour, brief=not _is_single(options), drawn=drawn)
    for result in checked:
        output.writelines(f"{line}\n" for line in report.image(result))
        output.flush()  # an interrupted run leaves what is done
    output.writelines(f"{line}\n" for line in report.summary(results))


def _is_single(options: argparse.Namespace) -> bool:
    """Say whether one image is named, and nothing that may stand for several."""
    if options.files_from is not None or len(options.paths) != 1:
        return False
    (path,) = options.paths
    return not is_folder(path) and not is_pattern(path)
