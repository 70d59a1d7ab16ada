"""`python -m tests.rules.said`: write down in `said.txt` what each rule says of the images that it must find.

Places, numbers and words of findings are compared with that file, so that a change of any shows, and is read by who
makes it. The fix, and what is in doubt, are there where they are not the rule's own.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fixtures.recipes import CASES, NOW
from vhdcheck import StreamChecker, check
from vhdcheck.engine.stream_checker import check_stream
from vhdcheck.escape import printable
from vhdcheck.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck import Finding, Report, Span

SAID: Final = Path(__file__).with_name("said.txt")


def findings(name: str, rule: str, report: Report) -> Iterator[str]:
    """Write what a rule says of an image; nothing where it does not find it."""
    for finding in report.findings:
        if finding.slug == rule:
            yield f"{name}: {finding.rule} {' '.join(map(_place, (finding.at, *finding.related)))}"
            # The parents of an image lie in a folder of its name, wherever that is.
            yield from (re.sub(rf"[^ ]*/{name}/", "", words) for words in _words(finding))


def _place(span: Span | None) -> str:
    return "nowhere" if span is None else f"{span.field}[{span.offset:#x}+{span.length}]"


def _words(finding: Finding) -> Iterator[str]:
    rule = RULES[finding.rule]
    fix = "" if finding.fix == rule.fix else finding.fix
    doubts = "" if finding.doubts == rule.doubts else finding.doubts or "nothing"
    said = {"": finding.message, "expected ": finding.expected, "found ": finding.found, "fix ": fix, "doubts ": doubts}
    yield from (f"  {name}{printable(words)}" for name, words in said.items() if words)


def main() -> None:
    """Write the file."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        for case in sorted(CASES, key=lambda case: case.name):
            case.build().write(path)
            parents = case.write_parents(Path(folder)) or None
            if case.stream:
                with path.open("rb") as file:
                    report = check_stream(file, StreamChecker(target=case.target, deep=case.deep, now=NOW))
            else:
                report = check(path, target=case.target, deep=case.deep, now=NOW, parents=parents)
            lines += findings(case.name, case.rule, report)
    SAID.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
