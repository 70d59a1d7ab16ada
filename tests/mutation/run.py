"""Mutation testing: `python -m tests.mutation.run [--sample N] [--seed S] vhdcheck/engine/plan.py ...`.

Cosmic Ray changes one place at a time, in a copy of the repository under `build/mutation`, and runs the tests that
judge the module (`JUDGES`). Printed are each survivor, by its place, as soon as its module is done, and the figures;
`SURVIVORS.md` says of those that remain why they may. `--sample N` tries N mutants of each module, drawn by the seed,
so that an hour says something of many modules.
"""

from __future__ import annotations

import argparse
import compileall
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
WORK: Final = ROOT / "build" / "mutation"
FIXTURES: Final = "-m tests.mutation.verdicts"
"""The findings on all fixtures, in half a second; before any tests where a verdict depends on the module."""
PYTEST: Final = "-m pytest -q -x -p no:cacheprovider --timeout 60"
TASKS: Final = "tests/tasks/test_store.py -k 'not postgresql'"
JUDGES: Final = (
    ("vhdcheck/rules/limits.py", FIXTURES, "tests/unit/test_targets.py"),
    ("vhdcheck/rules/times.py", "", "tests/rules"),
    ("vhdcheck/rules/*", FIXTURES, ""),
    ("vhdcheck/format/*", FIXTURES, "tests/unit tests/property/test_layout.py"),
    ("vhdcheck/image.py", FIXTURES, "tests/unit/test_plan.py"),
    ("vhdcheck/blocks/*", FIXTURES, "tests/property/test_table.py tests/property/test_bitmaps.py"),
    ("vhdcheck/chain.py", FIXTURES, "tests/chains/test_parents.py tests/chains/test_forest.py"),
    ("vhdcheck/engine/parents.py", FIXTURES, "tests/chains/test_parents.py"),
    ("vhdcheck/engine/forest.py", "", "tests/chains/test_family.py tests/chains/test_forest.py"),
    ("vhdcheck/engine/stream_checker.py", FIXTURES, "tests/streams/test_stream.py tests/streams/test_same_as_file.py"),
    ("vhdcheck/sources/stream_window.py", FIXTURES, "tests/streams/test_stream.py tests/streams/test_same_as_file.py"),
    (
        "vhdcheck/engine/*",
        FIXTURES,
        "tests/unit/test_plan.py tests/streams/test_stream.py tests/property/test_bitmaps.py",
    ),
    ("vhdcheck/sources/urls.py", "", "tests/unit/test_urls.py tests/remote/test_secrets.py"),
    ("vhdcheck/sources/local.py", FIXTURES, "tests/unit/test_sources.py tests/faults/test_media.py"),
    ("vhdcheck/sources/*", "", "tests/remote"),
    ("vhdcheck/mend/gpt.py", "", "tests/mend/test_gpt.py tests/mend/test_partitions.py"),
    ("vhdcheck/mend/guest.py", "", "tests/mend/test_guest.py tests/mend/test_properties.py"),
    ("vhdcheck/mend/writer.py", "", "tests/mend/test_writer.py tests/mend/test_guest.py"),
    ("vhdcheck/mend/corrections.py", "", "tests/mend/test_evidence.py tests/mend/test_plan.py"),
    ("vhdcheck/mend/foot*.py", "", "tests/mend/test_evidence.py tests/mend/test_plan.py"),
    ("vhdcheck/mend/head*.py", "", "tests/mend/test_evidence.py tests/mend/test_plan.py"),
    ("vhdcheck/mend/plans.py", "", "tests/mend/test_plan.py"),
    ("vhdcheck/mend/route.py", "", "tests/mend/test_plan.py tests/mend/test_repair.py"),
    (
        "vhdcheck/mend/conditions.py",
        "",
        "tests/mend/test_conditions.py tests/mend/test_plan.py tests/mend/test_partitions.py",
    ),
    ("vhdcheck/mend/prove.py", "", "tests/mend/test_proven.py tests/mend/test_guest.py"),
    ("vhdcheck/mend/in_place.py", "", "tests/mend/test_durable.py tests/mend/test_in_place.py"),
    ("vhdcheck/mend/journal.py", "", "tests/mend/test_durable.py tests/mend/test_in_place.py"),
    ("vhdcheck/mend/holding.py", "", "tests/mend/test_in_place.py"),
    ("vhdcheck/mend/files.py", "", "tests/mend/test_durable.py tests/mend/test_files.py tests/mend/test_new_files.py"),
    ("vhdcheck/mend/*", "", "tests/mend"),
    ("vhdcheck/report/*", "", "tests/cli"),
    ("vhdcheck/command/*", "", "tests/cli"),
    ("vhdcheck/tasks/database.py", "", f"tests/tasks/test_durable.py {TASKS}"),
    ("vhdcheck/tasks/store.py", "", TASKS),
    ("vhdcheck/tasks/remains.py", "", TASKS),
    ("vhdcheck/tasks/catalog.py", "", TASKS),
    ("vhdcheck/tasks/paging.py", "", TASKS),
    ("vhdcheck/tasks/states.py", "", TASKS),
    ("vhdcheck/tasks/limits.py", "", "tests/tasks/test_limits.py"),
    ("vhdcheck/tasks/*", "", "tests/tasks"),
    ("vhdcheck/glance.py", "", "tests/glance"),
    ("vhdcheck/*", FIXTURES, "tests/unit tests/cli"),
)
"""Module, whether the fixtures judge it first, and its tests: the first line that fits."""
LEFT_OUT: Final = [
    "core/ReplaceBinaryOperator_(?!Add_Sub|Sub_Add|Mul_FloorDiv|FloorDiv_Mul|Mod_FloorDiv|BitAnd_BitOr|LShift_RShift).*",
    "core/ReplaceComparisonOperator_(?!Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is).*",
    "core/ReplaceUnaryOperator_(?!Delete_Not|Delete_USub).*",
    "core/(RemoveDecorator|VariableReplacer|VariableInserter)",
]
"""Operators that only repeat what others do: `a - b` for `a + b` is enough, `a * b`, `a ** b`, ... add nothing."""
NO_WORK: Final = ("if TYPE_CHECKING", "@dataclass(")
"""Lines that do nothing when the program runs, or only save memory."""


class Survivor(NamedTuple):
    """A mutant that no test noticed."""

    line: int
    function: str
    diff: str

    def shown(self, module: str) -> str:
        """Write where it is, and what is different."""
        changed = [line for line in self.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        return "\n".join([f"{module}:{self.line} {self.function}", *(f"    {line}" for line in changed)])


def judge_of(module: str) -> str:
    """Return the command that a mutant of a module has to survive."""
    first, tests = next((first, tests) for pattern, first, tests in JUDGES if fnmatchcase(module, pattern))
    given = [first] * bool(first) + [f"{PYTEST} {tests}"] * bool(tests)
    return " && ".join(f"{sys.executable} {words}" for words in given)


def mutate(module: str, sample: int, seed: int) -> tuple[int, int, list[Survivor]]:
    """Try the mutants of one module, or a sample; return how many there are, how many were tried, and the survivors."""
    session, config = WORK / "session.sqlite", WORK / "config.toml"
    session.unlink(missing_ok=True)
    judge = WORK / "judge.sh"
    judge.write_text(f"{judge_of(module)}\n", encoding="utf-8")
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = 180.0\nexcluded-modules = []\n'
        f'test-command = "sh {judge}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n'
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = {LEFT_OUT!r}\n",
        encoding="utf-8",
    )
    if subprocess.run(["sh", judge], cwd=WORK, check=False).returncode:
        raise SystemExit(f"{module}: what judges it fails without a mutant, and would kill them all")
    _run("cosmic-ray", "init", config, session)
    _run("cr-filter-operators", session, config)
    total = _choose(session, (WORK / module).read_text(encoding="utf-8").splitlines(), sample, seed)
    _run("cosmic-ray", "exec", config, session)
    with sqlite3.connect(session) as database:
        rows = database.execute(
            "select start_pos_row, definition_name, diff, test_outcome from work_results join mutation_specs"
            " using (job_id) where worker_outcome = 'NORMAL' order by start_pos_row"
        ).fetchall()
    return total, len(rows), [Survivor(row[0], row[1] or "", row[2]) for row in rows if row[3] == "SURVIVED"]


def _choose(session: Path, lines: list[str], sample: int, seed: int) -> int:
    """Leave only the mutants that are tried in a session; return how many there are."""
    with sqlite3.connect(session) as database:
        jobs = database.execute(
            "select job_id, start_pos_row from mutation_specs where job_id not in (select job_id from work_results)"
            " order by start_pos_row, start_pos_col, operator_name, occurrence"
        ).fetchall()
        every = [job for job, row in jobs if not lines[row - 1].lstrip().startswith(NO_WORK)]
        drawn = random.Random(seed).sample(every, sample) if 0 < sample < len(every) else every
        others = {job for job, _ in jobs}.difference(drawn)
        for table in ("mutation_specs", "work_items"):
            database.executemany(f"delete from {table} where job_id = ?", [(job,) for job in others])  # noqa: S608 (ours)
    return len(every)


def _run(name: str, *words: str | Path) -> None:
    subprocess.run([str(Path(sys.executable).with_name(name)), *map(str, words)], cwd=WORK, check=True)


def main() -> int:
    """Copy the repository, and mutate one module after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each module; all by default")
    parser.add_argument("--seed", type=int, default=1, help="what draws them")
    parser.add_argument("modules", nargs="+", help="files, as vhdcheck/engine/plan.py")
    asked = parser.parse_args()
    shutil.rmtree(WORK, ignore_errors=True)
    left_out = shutil.ignore_patterns(".*", "build", "__pycache__")
    shutil.copytree(ROOT, WORK, ignore=left_out)
    # Mutants of one second and one length look alike by the file's time: bytecode is checked by content, or not kept.
    compileall.compile_dir(WORK, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(WORK), HYPOTHESIS_PROFILE="mutation")
    subprocess.run([sys.executable, "-m", "fixtures.build", "fixtures"], cwd=WORK, check=True)  # the large ones too
    for module in asked.modules:
        total, tried, survivors = mutate(module, asked.sample, asked.seed)
        print(*(each.shown(module) for each in survivors), sep="\n")
        killed = tried - len(survivors)
        print(f"{module}: {total} mutants, {tried} tried, {killed} killed, {len(survivors)} survived", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
