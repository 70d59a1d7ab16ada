"""Modules of the standard library that others import and that a check never uses: loaded if they are used after all.

construct imports pdb, inspect, pickle and more for functions that a check does not call, dataclasses imports inspect
for classes without a docstring: half of what the two cost a short-lived command.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # typing takes 3 of the 35 ms that --help has (tests/cost holds it)
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

UNUSED: Final = (
    *("hashlib", "inspect", "pdb", "pickle", "platform", "traceback"),  # construct, dataclasses
    *("bz2", "ipaddress", "lzma"),  # shutil, urllib.parse
)
"""Modules that others import and that checking an image does not need: 30 ms, a third of the time of a short run."""


class _Deferred(ModuleType):
    """Stands for a module in the name spaces of those that imported it, and finds its names when they are asked for."""

    def __getattr__(self, name: str) -> Any:  # whatever the name stands for
        if name == "__path__":  # what `from ... import` asks first: is it a package?
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Let what is imported in this context import these modules without loading them, nor looking for garbage.

    Only for a program's start: another thread that imports one of them meanwhile gets a stand-in too.

    Args:
        names: modules, no packages; those that are loaded already are left alone.
    """
    standing = {name: _Deferred(name) for name in names if name not in sys.modules}
    if (platform := standing.get("platform")) is not None and hasattr(os, "uname"):
        vars(platform)["system"] = lambda: os.uname().sysname  # what construct asks for at once, and is the same
    sys.modules.update(standing)
    collecting = gc.isenabled()
    gc.disable()  # importing makes many objects, and hardly any garbage
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        for name, module in standing.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
