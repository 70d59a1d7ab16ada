"""How a rule is declared, found, and run.

A rule is a function of one part of the image. The decorator says which part that is (see `PARTS`), and the plan's
`Known(part, value)` makes the rules of that part run. A rule's first parameter is the part's value. Further parameters
are taken by name from `image`, `target` and `now`. A rule returns the Fault that it finds, or None; one that can find
several yields them, or returns a list. Number, slug, part, severity, message code and what it doubts are declared once,
by the decorator, and cannot drift:

    @rule("VHD108", "temporary-disk", part="footer", severity=WARNING, spec="Hard Disk Footer Format: Features")
    def temporary_disk(footer: Footer) -> Fault | None:
        "The image is marked as a temporary disk."  # and what it checks, why that matters, what can be done
        if footer.features & 1:
            return Fault("the disk is marked as temporary", footer.span("features"), found="1")
        return None

A rule says in words what is wrong, what that means and what can be done. It names no command: an image has one repair,
and that is planned from all findings together. What a rule doubts is for that plan:

* "data": the guest's data may be wrong or missing. Nothing that is written from this image can be called the same.
* "description": the data is there and in its place, and what describes it is wrong. It can be written anew.
* "": neither is in doubt. The image is what it says, and the destination does not want that.

Most rules have nothing to say of most images, and a million images are a hundred million questions. So what a question
costs is the call of the function. `bound` sorts the rules of a part into families, by what they take and by their
`when`: of which images they say anything (`is_child`, `is_fixed`), which is looked at once for all of them. `_said`
asks them, family by family, and only what was said becomes findings, in the order of the rules. `one_by_one` does the
same plainly. It runs where a rule crashed, and a test holds that both find the same.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from vhdcheck.errors import UsageError
from vhdcheck.targets import suggestion
from vhdcheck.verdict.codes import Code
from vhdcheck.verdict.finding import Doubt, Finding, Severity

if TYPE_CHECKING:
    from vhdcheck.format.span import Span
    from vhdcheck.image import Image
    from vhdcheck.targets import Target

NOTE, WARNING, ERROR = Severity.NOTE, Severity.WARNING, Severity.ERROR

PARTS: Final = {
    "size": "the length of the file, an int",
    "file": "both ends of the file: FileEnds",
    "footer": "the Footer that is judged",
    "copies": "the Image, once the footer, its copy and what else looks like one are known",
    "header": "the DynamicHeader",
    "no_header": "what stands in the DynamicHeader's place and is none",
    "locators": "the used ParentLocators with their texts, a tuple",
    "table": "what the block allocation table says: Table",
    "batmap": "XenServer's Batmap; None where there is none",
    "slack": "the space before the footer: Slack",
    "bitmaps": "what the sector bitmaps say, if deep: Bitmaps",
    "image": "the Image, once everything else is known",
    "chain": "a differencing disk with its parents, where files were given to find them among: Chain",
    "crash": "what another rule failed with, in words",
}
"""The parts of an image that a rule can examine, and the value that it is given."""

_SECTION: Final = re.compile(r"^ *(Checks|Matters|Fix): ", re.MULTILINE)


class Fault(NamedTuple):
    """What a rule found: the defect in a sentence, its place, and values.

    `fix` stands where the rule's own is too general; None where nothing need be done and one line tells all.
    """

    message: str
    at: Span | None = None
    expected: str = ""
    found: str = ""
    fix: str | None = ""
    related: tuple[Span, ...] = ()
    doubts: Doubt | None = None
    """What it puts in doubt, where that is not what the rule says."""


Faults = Fault | Iterable[Fault] | None
RuleFunction = Callable[..., Faults]
Condition = Callable[["Image"], bool]
Declared = TypeVar("Declared", bound=RuleFunction)


@dataclass(frozen=True)
class Rule:
    """A rule as declared."""

    id: str
    slug: str
    part: str
    """What it examines, one of PARTS."""
    severity: Severity
    code: Code
    doubts: Doubt
    spec: str
    """Where the demand comes from: a section of the specification, or the tool that makes it."""
    examines: RuleFunction
    needs: tuple[str, ...]
    """What it takes besides the part that it examines."""
    when: Condition | None = None
    """Of which images it says anything; None: of all."""

    @property
    def title(self) -> str:
        """The defect in one sentence: the first line of the docstring."""
        return self._text.partition("\n")[0]

    @cached_property
    def _text(self) -> str:
        """The docstring; from the source where Python was told to leave docstrings out (-OO)."""
        if sys.flags.optimize > 1:
            import ast  # with inspect 20 ms, for -OO only
            import inspect

            source = inspect.getsource(self.examines)
            # Not by `ast.parse`: since Python 3.14 it leaves docstrings out too.
            module = compile(source, "", "exec", ast.PyCF_ONLY_AST, optimize=0)
            assert isinstance(module, ast.Module)
            (function,) = module.body
            assert isinstance(function, ast.FunctionDef)  # what a rule is
            return ast.get_docstring(function, clean=False) or ""
        return self.examines.__doc__ or ""

    @cached_property
    def _sections(self) -> dict[str, str]:
        parts = _SECTION.split(self._text)
        return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}

    @property
    def checks(self) -> str:
        """What is compared with what."""
        return self._sections.get("Checks", "")

    @property
    def matters(self) -> str:
        """What happens to the user of such an image."""
        return self._sections.get("Matters", "")

    @property
    def fix(self) -> str:
        """What can be done, in words."""
        return self._sections.get("Fix", "")

    def finding(self, fault: Fault, target: Target) -> Finding:
        """Complete a fault that an image has."""
        raised = self.slug in target.refuses and self.severity < ERROR
        return Finding(
            rule=self.id,
            slug=self.slug,
            severity=ERROR if raised else self.severity,
            code=self.code,
            message=fault.message,
            at=fault.at,
            expected=fault.expected,
            found=fault.found,
            fix="" if fault.fix is None else fault.fix or self.fix,
            related=fault.related,
            raised_by=target.name if raised else "",
            doubts=self.doubts if fault.doubts is None else fault.doubts,
        )


class _Family(NamedTuple):
    """Rules of one part that say something of the same images, and take the same."""

    when: Condition | None
    needs: tuple[str, ...]
    rules: tuple[tuple[RuleFunction, Rule], ...]


RULES: dict[str, Rule] = {}
_OF_PART: Final[dict[str, tuple[_Family, ...]]] = dict.fromkeys(PARTS, ())
_NOTHING: Final = ()
_IMAGE: Final = ("image",)
_TARGET: Final = ("target",)
_TIME: Final = ("now",)
_USUAL: Final = (_NOTHING, _IMAGE, _TARGET, _TIME)
"""What most rules take besides their part; told from one another by identity, which is quick."""


def rule(
    number: str,
    slug: str,
    *,
    part: str,
    severity: Severity,
    code: Code = Code.UNSPECIFIED,
    doubts: Doubt = "",
    spec: str,
    when: Condition | None = None,
) -> Callable[[Declared], Declared]:
    """Declare a rule.

    Args:
        number: `VHD` and three digits; the hundreds name the structure.
        slug: the defect in kebab-case.
        part: what it examines, one of PARTS; the value of that is the rule's first argument.
        severity: what it means by the format alone; a target may raise it.
        code: the message code that it means where it is an ERROR.
        doubts: "data" or "description", where one of them may be wrong.
        spec: where the demand comes from.
        when: of which images it says anything, where several rules say the same: `is_child`. It need not look again.
    """

    def register(function: Declared) -> Declared:
        parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
        if number in RULES or any(slug == other.slug for other in RULES.values()):
            raise AssertionError(f"{function.__name__}: {number} {slug} is taken")
        if part not in PARTS:
            raise AssertionError(f"{function.__name__}: examines {part!r}, which is no part of an image")
        needs = next((usual for usual in _USUAL if usual == parameters[1:]), parameters[1:])
        RULES[number] = Rule(number, slug, part, severity, code, doubts, spec, function, needs, when)
        return function

    return register


def in_order() -> None:
    """Put the rules in the order of their numbers, whichever file was imported first, and bind them to their parts."""
    rules = sorted(RULES.items())
    RULES.clear()
    RULES.update(rules)
    for part in PARTS:
        _OF_PART[part] = bound(each for each in RULES.values() if each.part == part)


def bound(rules: Iterable[Rule]) -> tuple[_Family, ...]:
    """Sort rules into families."""
    families: defaultdict[tuple[Condition | None, tuple[str, ...]], list[tuple[RuleFunction, Rule]]]
    families = defaultdict(list)
    for each in rules:
        families[each.when, each.needs].append((each.examines, each))
    return tuple(_Family(when, needs, tuple(asked)) for (when, needs), asked in families.items())


def judge(part: str, value: Any, *, image: Image, target: Target, now: float) -> list[Finding]:
    """Run the rules of one part; the findings come in the order of the rules.

    A rule that crashes becomes finding VHD999: the image is refused, out of caution.

    Args:
        part: which part is known, one of PARTS.
        value: that part.
        image: everything known so far.
        target: what the destination accepts.
        now: the time, in Unix seconds.
    """
    try:
        said = _said(part, value, image, target, now)
        if not said:
            return []
        said.sort(key=_number)
        return [each.finding(fault, target) for each, faults in said for fault in _listed(faults)]
    except Exception:  # noqa: BLE001 (whatever it is, the image is not accepted)
        return one_by_one(part, value, image=image, target=target, now=now)


def _said(part: str, value: Any, image: Image, target: Target, now: float) -> list[tuple[Rule, Faults]]:
    """Ask the rules of a part, and return what they said; nearly always nothing."""
    said: list[tuple[Rule, Faults]] = []
    for when, needs, rules in _OF_PART[part]:
        if when is not None and not when(image):
            continue
        if needs is _NOTHING:
            for ask, each in rules:
                if faults := ask(value):
                    said.append((each, faults))
        elif needs is _IMAGE:
            for ask, each in rules:
                if faults := ask(value, image):
                    said.append((each, faults))
        elif needs is _TARGET:
            for ask, each in rules:
                if faults := ask(value, target):
                    said.append((each, faults))
        elif needs is _TIME:
            for ask, each in rules:
                if faults := ask(value, now):
                    said.append((each, faults))
        else:
            given = _given(needs, image, target, now)
            for ask, each in rules:
                if faults := ask(value, *given):
                    said.append((each, faults))
    return said


def _given(needs: tuple[str, ...], image: Image, target: Target, now: float) -> list[Any]:
    by_name = {"image": image, "target": target, "now": now}
    return [by_name[name] for name in needs]


def _number(said: tuple[Rule, Faults]) -> str:
    return said[0].id


def _listed(faults: Faults) -> Iterable[Fault]:
    if isinstance(faults, Fault):
        return (faults,)
    return faults or ()


def one_by_one(part: str, value: Any, *, image: Image, target: Target, now: float) -> list[Finding]:
    """Run the rules of one part as `judge` does, plainly: one that crashes takes nothing else with it."""
    found = []
    rules = [each for family in _OF_PART[part] for _, each in family.rules]
    for each in sorted(rules, key=attrgetter("id")):
        try:
            if each.when is None or each.when(image):
                for fault in _listed(each.examines(value, *_given(each.needs, image, target, now))):
                    found.append(each.finding(fault, target))  # noqa: PERF401 (what came before a crash counts)
        except Exception as error:  # noqa: BLE001 (see `judge`)
            crash = f"{each.id} {each.slug}: {type(error).__name__}: {error}"
            found.append(RULES["VHD999"].finding(internal_error(crash), target))
    return found


def find(word: str) -> Rule:
    """Find a rule by its number or slug.

    Raises:
        UsageError: there is none.
    """
    for each in RULES.values():
        if word.upper() == each.id or word.lower() == each.slug:
            return each
    raise _unknown(word)


def matching(word: str) -> frozenset[str]:
    """Find the numbers of the rules that a number (`VHD103`), a slug or the beginning of a number (`VHD1`) means.

    Raises:
        UsageError: there is none.
    """
    start = word.upper()
    found = frozenset(
        each.id
        for each in RULES.values()
        if word.lower() == each.slug or (start.startswith("VHD") and each.id.startswith(start))
    )
    if not found:
        raise _unknown(word)
    return found


def _unknown(word: str) -> UsageError:
    known = tuple(name for each in RULES.values() for name in (each.slug, each.id))
    return UsageError(f"unknown rule {word!r}{suggestion(word, known)}")


@rule("VHD999", "internal-error", part="crash", severity=ERROR, doubts="data", spec="none: a defect of vhdcheck")
def internal_error(crash: str) -> Fault:
    """A rule of vhdcheck failed on this image.

    Checks: that every rule comes to an end.
    Matters: that rule says nothing about the image. To be safe it counts as refused, and the exit status is 2.
    Fix: report it to vhdcheck, with the first 4 KiB and the last 4 KiB of the image.
    """
    return Fault(f"a rule failed, so the image cannot be called accepted: {crash}")
