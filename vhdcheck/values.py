"""Values: objects that are made by the thousand and never changed.

To a type checker `value` is `dataclasses.dataclass`, so that it reports whoever sets a field of a `value(frozen=True)`.
While a program runs nothing is in the way of that: an object that defends itself takes four times as long to make, and
a check makes a dozen. Values are compared and hashed by their fields, have slots, and are pickled without the names of
their fields, which workers in other processes know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(**_: bool) -> object:
        """Declare a class of values, as `dataclass` does."""

        def declared(cls: type) -> type:
            made = dataclass(slots=True, unsafe_hash=True)(cls)
            made.__reduce__ = _reduced
            return made

        return declared

    def _reduced(self: object) -> tuple[type, tuple[object, ...]]:
        """Be pickled as what makes it again."""
        return type(self), tuple(getattr(self, name) for name in type(self).__slots__)


__all__ = ["value"]
