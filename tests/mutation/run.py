"""Mutation testing: `python -m tests.mutation.run vhdcheck/engine/plan.py ...` changes one place at a time.

Cosmic Ray does it, in a copy of the repository under `build/mutation`. A mutant is killed by the fixtures' manifest
(`verdicts.py`, half a second) or, where that lets it pass, by the tests named below. Printed are the figures and each
survivor's change; `SURVIVORS.md` says of those that remain why they may.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
WORK: Final = ROOT / "build" / "mutation"
TESTS: Final = {
    "vhdcheck/blocks/arrays.py": "tests/property/test_table.py",
    "vhdcheck/blocks/small.py": "tests/property/test_table.py",
    "vhdcheck/rules/limits.py": "tests/unit/test_targets.py",
    "vhdcheck/engine/plan.py": "tests/unit/test_plan.py tests/streams/test_stream.py tests/property/test_bitmaps.py",
}
"""Tests of a module besides the fixtures, which are all that a rule's verdict is judged by."""
LEFT_OUT: Final = [
    "core/ReplaceBinaryOperator_(?!Add_Sub|Sub_Add|Mul_FloorDiv|FloorDiv_Mul|Mod_FloorDiv|BitAnd_BitOr|LShift_RShift).*",
    "core/ReplaceComparisonOperator_(?!Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is).*",
    "core/ReplaceUnaryOperator_(?!Delete_Not|Delete_USub).*",
    "core/(RemoveDecorator|VariableReplacer|VariableInserter)",
]
"""Operators that only repeat what others do: `a - b` for `a + b` is enough, `a * b`, `a ** b`, ... add nothing."""


def mutate(module: str) -> tuple[int, int, list[str]]:
    """Try all mutants of one module; return how many there were, how many were killed, and the survivors' changes."""
    session, config = WORK / "session.sqlite", WORK / "config.toml"
    session.unlink(missing_ok=True)
    command = f"{sys.executable} -m tests.mutation.verdicts"
    if module in TESTS:
        command = f"sh -c '{command} && {sys.executable} -m pytest -q -x -p no:cacheprovider {TESTS[module]}'"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = 120.0\nexcluded-modules = []\n'
        f'test-command = "{command}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n'
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = {LEFT_OUT!r}\n",
        encoding="utf-8",
    )
    _run("cosmic-ray", "init", config, session)
    _run("cr-filter-operators", session, config)
    _run("cosmic-ray", "exec", config, session)
    with sqlite3.connect(session) as database:
        rows = database.execute(
            "select test_outcome, diff from work_results where worker_outcome = 'NORMAL'"
        ).fetchall()
    survivors = [diff for outcome, diff in rows if outcome == "SURVIVED"]
    return len(rows), len(rows) - len(survivors), survivors


def _run(name: str, *words: str | Path) -> None:
    subprocess.run([str(Path(sys.executable).with_name(name)), *map(str, words)], cwd=WORK, check=True)


def main(modules: list[str]) -> int:
    """Copy the repository, and mutate one module after the other."""
    shutil.rmtree(WORK, ignore_errors=True)
    left_out = shutil.ignore_patterns(".*", "build", "__pycache__")
    shutil.copytree(ROOT, WORK, ignore=left_out)
    # Mutants of one second and one length look alike by the file's time: bytecode is checked by content, or not kept.
    compileall.compile_dir(WORK, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", HYPOTHESIS_PROFILE="mutation")
    subprocess.run([sys.executable, "-m", "fixtures.build", "fixtures"], cwd=WORK, check=True)  # the large ones too
    for module in modules:
        total, killed, survivors = mutate(module)
        print(*survivors, sep="\n")
        print(f"{module}: {total} mutants, {killed} killed, {total - killed} survived", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
