"""A run of the command: which images, checked by what, written how."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from vhdcheck.command.inputs import Walk, expanded, is_folder, is_pattern, is_text, listed_in
from vhdcheck.command.progress import Reading, Watched, of_many
from vhdcheck.command.repair import finish
from vhdcheck.command.work import Skipped, Told, Work
from vhdcheck.engine.audit import BATCH, finished, with_family
from vhdcheck.engine.check import Settled
from vhdcheck.engine.dispatch import dispatched
from vhdcheck.errors import SourceError
from vhdcheck.report.context import Context
from vhdcheck.report.results import Results, summary
from vhdcheck.sources.urls import is_url
from vhdcheck.terminal.progress import Progress
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from vhdcheck.command.inputs import Item
    from vhdcheck.command.options import Options
    from vhdcheck.command.work import Outcome
    from vhdcheck.engine.parents import Parents
    from vhdcheck.sources.source import Source
    from vhdcheck.verdict.report import Report


def run(options: Options, output: TextIO, errors: TextIO) -> int:
    """Check what the options name, and write the reports.

    Args:
        options: what to do.
        output: where reports go.
        errors: where progress goes, and the summary where it is not in `output`.

    Returns:
        The exit status.

    Raises:
        UsageError: a list that is none, or an output that may be an image.
        SourceError: a list or an earlier run's file cannot be read, the output not be written, or a cluster not be
            reached.
    """
    if options.files_from is not None or any(map(is_url, (*options.paths, *options.parent, *options.parents))):
        _mute_drivers()
    results = Results(fail_on=options.fail_on, exit_zero=options.exit_zero, texts_suffice=options.skip_text)
    if options.resume is not None:
        from vhdcheck.command.resume import read  # json

        results.before = read(options.resume)
    form = options.form
    try:
        with _opened(options, output) as file, ExitStack() as stack:
            reading = Reading() if _is_single(options) else None
            line = Progress(errors, of_many(results) if reading is None else reading)
            shared = line.paused if file.isatty() else nullcontext
            watch = None if reading is None else partial(Watched, reading=reading, line=line)
            work = _work(options, _context(options, results, file), watch)
            parts = _counted(_checked(options, work, results, stack, line=line, reading=reading), results)
            if results.before.torn and _is_same_file(options.resume, file):
                file.write("\n")
            for text in form.write(parts, work.context):
                with shared():
                    file.write(text)
                    file.flush()  # a run that is ended leaves what is done
    except KeyboardInterrupt:
        _summarise(options, results, errors)
        raise
    _summarise(options, results, errors)
    return results.exit_status


def _mute_drivers() -> None:
    """Keep what drivers log off standard error, where it goes if nobody is set up for it: it quotes URLs and keys."""
    import logging  # asyncio, which URLs need, imports it too

    logging.getLogger().addHandler(logging.NullHandler())


def _summarise(options: Options, results: Results, errors: TextIO) -> None:
    """Write what a run came to where its report does not say so to whoever looks on."""
    if not options.form.SUMMARY or options.output is not None:
        errors.writelines(f"{line}\n" for line in summary(results))
        errors.flush()


def _context(options: Options, results: Results, output: TextIO) -> Context:
    return Context(
        target=options.target,
        results=results,
        with_map=options.with_map,
        brief=not _is_single(options),
        colour=output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        encoding=output.encoding,
        columns=shutil.get_terminal_size((100, 24)).columns,
        folder=_here(),
    )


def _here() -> str:
    with suppress(OSError):  # it was deleted
        return os.getcwd()
    return ""


def _opened(options: Options, output: TextIO) -> AbstractContextManager[TextIO]:
    """Open what `--output` names; without it, the standard output."""
    if options.output is None:
        return nullcontext(output)
    from vhdcheck.command.output import appending, refuse_image, replacing  # seldom

    path = Path(options.output)
    refuse_image(path, options.paths)
    if options.form.WHOLE or options.format == "text":
        return replacing(path)
    # An interrupted run leaves whole lines, and the one that resumes it goes on behind them.
    again = options.resume is not None and path.exists() and path.samefile(options.resume)
    return appending(path, empty=not again)


def _work(options: Options, context: Context, watch: Callable[[Source], Source] | None) -> Work:
    """Say what is done to each image."""
    return Work(
        Settled.by(target=options.target, deep=options.deep, allocation=options.allocation, download=options.download),
        finish(options),
        options.selected,
        quiet=options.quiet and not options.chains,
        form=options.format,
        folder=options.folder,
        context=context,
        has_family=bool(options.parent or options.parents),
        watch=watch,
    )


def _counted(found: Iterator[Told], results: Results) -> Iterator[Any]:
    """Add up what comes, and pass on what is to be shown."""
    for tally, part in found:
        results.count(tally)
        if part is not None:
            yield part


def _checked(
    options: Options, work: Work, results: Results, stack: ExitStack, *, line: Progress, reading: Reading | None
) -> Iterator[Told]:
    """Check each image, and go on when one cannot be."""
    if options.is_stdin:
        from vhdcheck.command.stdin import check_stdin  # streams need more

        stack.enter_context(line)
        parents = _parents(options)
        yield _with_parents(check_stdin(options, work.watch, reading), parents, work)
        return
    walk = Walk(skip_named_texts=options.skip_text)
    items = _items(options, walk, results)
    first = next(items, None)
    workers = None if first is None else _workers(options, first[0], stack)
    stack.enter_context(line)  # it has a thread, and with one processes are not forked
    parents = _parents(options)
    if first is not None:
        for outcome in _outcomes(chain([first], items), work, workers):
            if isinstance(outcome, Skipped):
                walk.skip(outcome.place)
            else:
                yield outcome if isinstance(outcome, Told) else _with_parents(outcome, parents, work)
    for name, reason in walk.problems:
        yield work.told(Failure(name, reason))
    results.skipped_texts = walk.skipped_texts


def _outcomes(items: Iterator[Item], work: Work, workers: Workers | None) -> Iterator[Outcome]:
    """Do the work where it is to be done."""
    if workers is None:
        return chain.from_iterable(work((item,)) for item in items)
    away = replace(work, context=work.context.for_workers(), watch=None)
    return dispatched(items, away, work.lost, **workers._asdict())


def _with_parents(result: Report | Failure, parents: Parents | None, work: Work) -> Told:
    """Add what is found of an image's parents, and then the repair, which needs them."""
    return work.told(finished(with_family(result, parents), work.finish))


def _parents(options: Options) -> Parents | None:
    """Collect the files that are given for parents; None where none are.

    Raises:
        SourceError: one that is named cannot be read.
    """
    if not (options.parent or options.parents):
        return None
    from vhdcheck.engine.parents import Parents  # seldom

    parents = Parents(options.parent)
    walk = Walk()
    for path in options.parents:
        if is_folder(path) or is_pattern(path):
            for image, place in walk.images(expanded([path])):
                if place is None or not is_text(image):
                    parents.add_if_readable(image)
                else:
                    walk.skip(place)
        else:
            parents.add(path)
    if walk.problems:
        name, reason = walk.problems[0]
        raise SourceError(f"{name}: {reason}")
    return parents


def _items(options: Options, walk: Walk, results: Results) -> Iterator[Item]:
    """Yield what there is to check, as it is found, without what was done before."""
    listed = () if options.files_from is None else listed_in(options.files_from, null=options.null)
    for source, place in walk.images(chain(expanded(options.paths), listed)):
        # A cluster's worker has another working directory.
        path = os.path.abspath(source) if options.executor and not is_url(source) else source  # links stay
        if not results.before.has(path):
            yield path, place


class Workers(NamedTuple):
    """Who checks, and how much they are given at a time."""

    executor: Executor
    window: int
    batch: int = BATCH


def _workers(options: Options, first: str, stack: ExitStack) -> Workers | None:
    """Choose who checks, by the first source: URLs wait for servers, files keep processors busy."""
    if options.executor is not None:
        from vhdcheck.engine.executors import dask  # multiprocessing

        executor, threads = stack.enter_context(dask(options.executor))
        return Workers(executor, 4 * max(threads, 1))
    if options.jobs == 1:
        return None
    if is_url(first):
        return Workers(stack.enter_context(_threads(options.jobs)), 2 * options.jobs, batch=1)
    from vhdcheck.engine.executors import processes  # multiprocessing

    return Workers(stack.enter_context(processes(options.jobs)), 4 * options.jobs)


@contextmanager
def _threads(number: int) -> Iterator[Executor]:
    from concurrent.futures import ThreadPoolExecutor  # logging, threading

    executor = ThreadPoolExecutor(number)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # at the end nothing is left, at an interrupt nobody waits


def _is_same_file(name: str | None, output: TextIO) -> bool:
    with suppress(OSError):  # an output without a descriptor
        return name is not None and os.path.samestat(os.stat(name), os.fstat(output.fileno()))
    return False


def _is_single(options: Options) -> bool:
    """Say whether one image is named, and nothing that may stand for several."""
    if options.files_from is not None or len(options.paths) != 1:
        return False
    (path,) = options.paths
    return not is_folder(path) and not is_pattern(path)
