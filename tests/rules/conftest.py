"""The images of the recipes, each built once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from fixtures.recipes import NOW
from vhdcheck import StreamChecker, check
from vhdcheck.engine.stream_checker import check_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.recipes import Case
    from vhdcheck import Report

    Checked = Callable[[Case], Report]


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    """Build a case's image, check it for its target, and return the report."""
    folder = tmp_path_factory.mktemp("cases")
    path = folder / "image"

    @cache
    def report(case: Case) -> Report:
        case.build().write(path)
        if not case.stream:
            parents = case.write_parents(folder) or None
            return check(path, target=case.target, deep=case.deep, now=NOW, parents=parents)
        checker = StreamChecker(target=case.target, deep=case.deep, now=NOW)
        with path.open("rb") as file:
            return check_stream(file, checker)

    return report
