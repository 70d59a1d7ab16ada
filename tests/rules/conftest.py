"""The images of the recipes, each built once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from fixtures.recipes import NOW
from vhdcheck import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.recipes import Case
    from vhdcheck import Report

    Checked = Callable[[Case], Report]


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    """Build a case's image, check it for its target, and return the report."""
    path = tmp_path_factory.mktemp("cases") / "image"

    @cache
    def report(case: Case) -> Report:
        case.build().write(path)
        return check(path, target=case.target, deep=case.deep, now=NOW)

    return report
