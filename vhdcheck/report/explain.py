"""The catalogue in words: `--rules` and `--explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.errors import UsageError
from vhdcheck.report.words import wrapped
from vhdcheck.rules import RULES, find
from vhdcheck.verdict.codes import MEANINGS, TEXTS, Code
from vhdcheck.verdict.finding import Severity

if TYPE_CHECKING:
    from vhdcheck.rules.registry import Rule

WIDTH: Final = 100
_INDENT: Final = " " * 10


def catalogue() -> str:
    """List every rule, a line each."""
    lines = [
        f"{each.id}  {each.severity.word:<8}{int(each.code)}  {each.slug:<30}{each.title}" for each in RULES.values()
    ]
    return "\n".join(lines)


def explain(word: str) -> str:
    """Explain a rule, by number or slug, or a message code.

    Raises:
        UsageError: it is neither.
    """
    return "\n".join(_code(word) if word.isdecimal() else _rule(find(word)))


def _rule(each: Rule) -> list[str]:
    raised = "" if each.severity == Severity.ERROR else "; some targets make an error of it"
    return [
        f"{each.id} {each.slug}",
        each.title,
        "",
        *_paragraph("severity", each.severity.word + raised),
        *_paragraph("code", f"{int(each.code)}, where it refuses the image"),
        *_paragraph("source", each.spec),
        *_paragraph("checks", each.checks),
        *_paragraph("matters", each.matters),
        *_paragraph("fix", each.fix),
    ]


def _code(number: str) -> list[str]:
    known = {str(int(code)): code for code in Code}
    if number not in known:
        raise UsageError(f"unknown message code {number}: one of {', '.join(known)}")
    code = known[number]
    rules = [f"  {each.id} {each.slug:<30}{each.title}" for each in RULES.values() if each.code == code]
    text = TEXTS[code].format(limit="40GB")
    return [*wrapped(f"{number}: {text}", WIDTH, ""), "", *_paragraph("when", MEANINGS[code]), "rules", *rules]


def _paragraph(label: str, text: str) -> list[str]:
    return wrapped(text, WIDTH, _INDENT, f"{label:<10}")
