"""Reports for people and programs.

Each module of the folder `formats` is a form of the report, and `--format`, the completions and the README find it
there. A new form is a new file in it. What such a module owes:

- a docstring whose first line says whom it is for: the README's table has it;
- `WHOLE`: True for one document, which is written when all images are checked and cannot be added to by `--resume`;
- `SUMMARY`: True if the summary is part of it; if not, the command writes the summary to standard error;
- `part(result, context)`, which makes of a report or a failure all that the form needs of it. It runs where the image
  was checked, which may be another process: so it does the work, and returns little, which can be pickled: text, where
  the place of the image in the report does not change it. It says
    - of the image its verdict, code and findings, or why it could not be checked,
    - with `context.with_map` the map, if the form has room for one;
- `write(parts, context)`, which takes the parts as they come, and yields text: around and between them what they are
  held together by, and what `context.results` came to, read when `parts` has ended: the census with the findings that
  were ignored, and the texts that were skipped;
- nothing of an image as it is: `escape.printable` for what people see, `escape.as_unicode` for programs.
"""

from __future__ import annotations

import os
from importlib import import_module

TYPE_CHECKING = False  # typing takes 3 of the 35 ms that --help has (tests/cost holds it)
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Protocol

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Failure, Report

    class Format(Protocol):
        """What a module of `formats` is."""

        WHOLE: bool
        SUMMARY: bool

        def part(self, result: Report | Failure, context: Context) -> Any:
            """Make of an image what `write` needs of it."""

        def write(self, parts: Iterator[Any], context: Context) -> Iterator[str]:
            """Write the report, in as many pieces as it comes in."""


def names() -> tuple[str, ...]:
    """List the forms, the one for people first."""
    files = os.listdir(os.path.join(os.path.dirname(__file__), "formats"))
    found = {name.removesuffix(".py").replace("_", "-") for name in files if name.endswith(".py")}
    return ("text", *sorted(found - {"--init--", "text"}))


def written(form: Format, results: Iterable[Report | Failure], context: Context) -> str:
    """Write what was checked here."""
    return "".join(form.write((form.part(result, context) for result in results), context))


def load(name: str, folder: str = "formats") -> Format:
    """Import the module of a form, and nothing else; those of `forest` write who is whose parent."""
    module: Any = import_module(f"{__name__}.{folder}.{name.replace('-', '_')}")
    form: Format = module
    return form
