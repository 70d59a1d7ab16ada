"""The version, in one place: the package's, the reports' and the wheel's."""

from __future__ import annotations

__version__ = "0.1.0"
