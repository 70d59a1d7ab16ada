"""A plan in words, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.mend import plans
from vhdcheck.units import count, exact, grouped

if TYPE_CHECKING:
    from vhdcheck.mend.plans import Condition, Plan, Step

_STEPS: Final = {
    plans.CORRECT: "correct the footers and the dynamic header",
    plans.REBUILD: "rebuild: write the disk into a new image",
    plans.MAKE_FIXED: "write the disk as a fixed one",
    plans.MAKE_DYNAMIC: "write the disk as a dynamic one, without blocks of zeros",
}


def step_words(step: Step) -> str:
    """Say what a step does."""
    if step.kind == plans.CUT:
        return f"cut off the {grouped(step.before - step.after)} bytes behind the footer"
    if step.kind == plans.ENLARGE:
        return f"enlarge the disk by zeros, from {exact(step.before, step.after)} to {exact(step.after, step.before)}"
    if step.kind == plans.SHRINK:
        return f"shrink the disk from {exact(step.before, step.after)} to {exact(step.after, step.before)}"
    if step.kind == plans.WRAP:
        return f"make an image of the raw disk of {exact(step.before)}"
    if step.kind == plans.FLATTEN:
        return f"put the disk together from its own data and that of {count(step.before, 'parent')}"
    return _STEPS[step.kind]


def condition_words(condition: Condition) -> str:
    """Say what has to be so."""
    return {
        plans.UNMARKED: "sectors that a block's bitmap marks as empty hold only zeros",
        plans.BETWEEN: "nothing but zeros lies between the end of the disk and the footer",
        plans.BEHIND_FOOTER: "nothing but zeros lies behind the footer",
        plans.PARTITIONS: (
            "a GPT, if the disk has one, is sound and counts in sectors of 512 bytes (its backup moves to the new end)"
        ),
        plans.SECTORS: "a GPT, if the disk has one, counts in sectors of 512 bytes",
        plans.BEHIND_DISK: (
            f"every partition ends before {exact(condition.offset)}, and nothing but zeros and a GPT's backup, which"
            " moves, lies behind it"
        ),
        plans.FITS: f"no more than {grouped(condition.limit)} blocks of 2 MiB hold data",
    }[condition.kind]


def result_words(plan: Plan) -> str:
    """Say what the copy will be."""
    return f"a {plan.disk_type} disk of {exact(plan.size)}, {length_words(plan)}"


def length_words(plan: Plan) -> str:
    """Say how long the copy's file will be."""
    if plan.length == plan.least_length:
        return f"in a file of {exact(plan.length)}"
    return f"in a file of at most {exact(plan.length)}"
