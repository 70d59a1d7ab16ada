"""What the server that forks workers loads: what checks and writes images, without what others import for nothing."""

from __future__ import annotations

from vhdcheck.command.deferred import UNUSED, deferred

with deferred(*UNUSED):
    import vhdcheck.command.work  # noqa: F401 (all that they need, but for the form)
