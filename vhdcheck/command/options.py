"""What one run of the command is to do: the arguments, what the configuration adds, and what they mean together.

The door of the command. Behind it nobody sees argparse, an argument that was left out, or a word that means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vhdcheck import report, targets
from vhdcheck.command.config import selection, settings
from vhdcheck.errors import UsageError
from vhdcheck.verdict.finding import Severity

if TYPE_CHECKING:
    import argparse

    from vhdcheck.command.config import Selection
    from vhdcheck.targets import Target


@dataclass(frozen=True, slots=True)
class Options:
    """A run. Each field means what the argument of its name means in `--help`."""

    paths: tuple[str, ...]
    files_from: str | None
    null: bool
    stdin_filename: str
    skip_text: bool
    target: Target
    """With the limits that the arguments or the configuration give it."""
    target_name: str
    """What it was named by, or its file, for commands that are printed."""
    selected: Selection
    """What `--select` and `--ignore` leave."""
    deep: bool
    download: bool
    jobs: int
    executor: str | None
    format: str
    with_map: bool
    quiet: bool
    output: str | None
    resume: str | None
    fail_on: Severity
    exit_zero: bool
    parent: tuple[str, ...]
    parents: tuple[str, ...]
    chains: bool

    @property
    def form(self) -> report.Format:
        """What writes the report."""
        return report.load(self.format, self.folder)

    @property
    def folder(self) -> str:
        """Where that is."""
        return "forest" if self.chains else "formats"

    @property
    def allocation(self) -> bool:
        """Whether to count where blocks lie."""
        return self.with_map or (self.format == "html" and not self.chains)

    @property
    def is_stdin(self) -> bool:
        """Whether the image comes on standard input."""
        return self.paths == ("-",)


def options(arguments: argparse.Namespace) -> Options:
    """Make sense of the arguments; what they leave open the configuration fills in, or else the defaults.

    Raises:
        UsageError: arguments or a configuration that make no sense, alone or together.
        SourceError: a target or a configuration that cannot be read.
    """
    _validate(arguments)
    given = {key: value for key, value in vars(arguments).items() if value is not None}
    if not arguments.no_config:
        found = settings(arguments.config)
        if arguments.target is not None:  # the limits of a configuration belong to its target
            found = {key: value for key, value in found.items() if key not in _LIMITS}
        given = {key.replace("-", "_"): value for key, value in found.items()} | given
    limits = {name: given.get(name) for name in ("max_virtual_size", "max_physical_size")}
    target = "generic" if arguments.chains else given.get("target", targets.DEFAULT)
    return Options(
        paths=tuple(arguments.paths),
        files_from=arguments.files_from,
        null=arguments.null,
        stdin_filename=arguments.stdin_filename,
        skip_text=arguments.skip_text,
        target=targets.load(target, **limits),
        target_name=target,
        selected=selection(given.get("select", ()), given.get("ignore", ())),
        deep=arguments.deep,
        download=arguments.download,
        jobs=arguments.jobs,
        executor=arguments.executor,
        format=arguments.format,
        with_map=arguments.map,
        quiet=arguments.quiet,
        output=arguments.output,
        resume=arguments.resume,
        fail_on=Severity[given.get("fail_on", "error").upper()],
        exit_zero=arguments.exit_zero,
        parent=tuple(arguments.parent),
        parents=tuple(arguments.parents),
        chains=arguments.chains,
    )


FOREST = ("text", "json", "html")
"""Forms that the forest has."""
_LIMITS = frozenset({"max-virtual-size", "max-physical-size"})


def _validate(arguments: argparse.Namespace) -> None:
    if not arguments.paths and arguments.files_from is None:
        raise UsageError("name an image or a folder (see --help)")
    if "-" in arguments.paths and (len(arguments.paths) > 1 or arguments.files_from is not None):
        raise UsageError("- reads one image from standard input, and goes alone")
    if arguments.null and arguments.files_from is None:
        raise UsageError("-0 goes with --files-from")
    if arguments.jobs < 1:
        raise UsageError("--jobs takes a number from 1 on")
    if arguments.chains:
        _validate_chains(arguments)
    if arguments.resume is not None and report.load(arguments.format).WHOLE:
        *forms, last = [name for name in report.names() if not report.load(name).WHOLE]
        words = f"{', '.join(forms)} or {last}"
        raise UsageError(f"--resume goes with --format {words}: one document cannot be added to")


def _validate_chains(arguments: argparse.Namespace) -> None:
    if arguments.format not in FOREST:
        raise UsageError(f"--chains goes with --format {', '.join(FOREST[:-1])} or {FOREST[-1]}")
    if arguments.target is not None:
        raise UsageError("--chains is about the format alone, and takes no --target")
    if "-" in arguments.paths:
        raise UsageError("--chains looks at many images, and - is one")
    if arguments.parent or arguments.parents:
        raise UsageError("--chains finds parents among all images that are named: name those of --parent too")
