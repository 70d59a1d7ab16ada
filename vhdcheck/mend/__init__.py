"""From no to yes: a copy of an image that its destination accepts, with the same guest data; or why there is none.

    from vhdcheck.mend import mend, plan

    planned = plan("in.vhd", target="azure")
    planned.possible, planned.steps, planned.conditions, planned.reasons, planned.command

    result = mend("in.vhd", "out.vhd", target="azure")
    result.ok, result.reasons, result.plan, result.sha256

with_repair(report).repair: the same in words, as the command writes it at the end of its reports

How it is decided, and what is never done: `README.md` here.
"""

from __future__ import annotations

from vhdcheck.engine.options import MendOptions
from vhdcheck.mend.corrections import Change
from vhdcheck.mend.plans import Condition, Plan, Step
from vhdcheck.mend.repair import unsaved, with_repair
from vhdcheck.mend.route import plan
from vhdcheck.mend.run import Mending, mend

__all__ = ["Change", "Condition", "MendOptions", "Mending", "Plan", "Step", "mend", "plan", "unsaved", "with_repair"]
