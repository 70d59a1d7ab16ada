"""`python -m vhdcheck`."""

from __future__ import annotations

from vhdcheck.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
