"""Would this VHD be accepted, and if not, exactly why?

    >>> from vhdcheck import check
    >>> check("fixtures/dynamic-empty.vhd").ok
    True

Everything here is loaded when it is first used: `import vhdcheck` imports neither construct nor numpy.
"""

from __future__ import annotations

import importlib

from vhdcheck.version import __version__ as __version__

TYPE_CHECKING = False  # typing takes 3 of the 35 ms that --help has (tests/cost holds it)
if TYPE_CHECKING:
    from vhdcheck.engine.audit import audit
    from vhdcheck.engine.check import acheck, aexamine, check, examine, iter_findings
    from vhdcheck.engine.options import CheckOptions, JudgeOptions
    from vhdcheck.engine.parents import Parents
    from vhdcheck.engine.stream_checker import StreamChecker
    from vhdcheck.errors import SourceError, UsageError, VhdcheckError
    from vhdcheck.format.span import Span
    from vhdcheck.image import Image
    from vhdcheck.sources.source import AsyncSource, Source
    from vhdcheck.sources.store_listing import listed
    from vhdcheck.targets import Target
    from vhdcheck.verdict.codes import Code
    from vhdcheck.verdict.finding import Finding, Severity
    from vhdcheck.verdict.report import Failure, ImageRefused, Report

__all__ = [
    "AsyncSource",
    "CheckOptions",
    "Code",
    "Failure",
    "Finding",
    "Image",
    "ImageRefused",
    "JudgeOptions",
    "Parents",
    "Report",
    "Severity",
    "Source",
    "SourceError",
    "Span",
    "StreamChecker",
    "Target",
    "UsageError",
    "VhdcheckError",
    "acheck",
    "aexamine",
    "audit",
    "check",
    "examine",
    "iter_findings",
    "listed",
]

_HOMES = {
    "AsyncSource": "sources.source",
    "CheckOptions": "engine.options",
    "Code": "verdict.codes",
    "Failure": "verdict.report",
    "Finding": "verdict.finding",
    "Image": "image",
    "ImageRefused": "verdict.report",
    "JudgeOptions": "engine.options",
    "Parents": "engine.parents",
    "Report": "verdict.report",
    "Severity": "verdict.finding",
    "Source": "sources.source",
    "SourceError": "errors",
    "Span": "format.span",
    "StreamChecker": "engine.stream_checker",
    "Target": "targets",
    "UsageError": "errors",
    "VhdcheckError": "errors",
    "acheck": "engine.check",
    "aexamine": "engine.check",
    "audit": "engine.audit",
    "check": "engine.check",
    "examine": "engine.check",
    "iter_findings": "engine.check",
    "listed": "sources.store_listing",
}


if not TYPE_CHECKING:  # a checker that sees it takes every name for known

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
