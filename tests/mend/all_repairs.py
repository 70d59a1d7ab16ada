"""Every fixture, oracle and corpus image, for every target: the report's command is run by a shell as it was printed.

    python -m tests.mend.all_repairs [-k WORD]

The copy has to be accepted by the target. Where the report says that nothing can be done, mend has to refuse with the
same words. Prints what did not hold; exit status 1 then. Takes an hour. `-k WORD`: only images with that
in their names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vhdcheck import check
from vhdcheck.mend import mend, with_repair
from vhdcheck.targets import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
LARGEST: Final = 256 << 20
"""Bytes of data that are written anew: what is larger is done by `tests.mend.all_targets`, which needs no shell."""


def _opens(path: Path, arguments: Sequence[str]) -> bool:
    """Say whether qemu-img can read an image at all, of the format that the command gives it."""
    form = arguments[arguments.index("-f") + 1]
    return subprocess.run(["qemu-img", "info", "-f", form, path], capture_output=True, check=False).returncode == 0


def wrong_about(path: Path, target: str) -> Iterator[str]:
    """Yield what a report on an image says of its repair that is not so.

    All is judged by this machine's clock, as the command does.
    """
    if path.stat().st_blocks * 512 > LARGEST:
        return
    report = with_repair(check(path, target=target))
    repair = report.repair
    if repair is None:
        return
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        if repair.possible is False:
            out = Path(name) / "out.vhd"
            if (reasons := mend(path, out, target=target).reasons) != repair.reasons:
                yield f"other words: {repair.reasons} {reasons}"
            if out.exists():
                yield "something was written"
        if not repair.commands:
            return
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        for command in repair.commands:
            done = subprocess.run(
                ["sh", "-c", command.shell],
                cwd=path.parent,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 127 and not shutil.which(command.arguments[0]):
                return
            if done.returncode and command.arguments[0] == "qemu-img" and not _opens(path, command.arguments):
                return  # the beginning of an image of another format, and no more: see `test_another_format`
            refused = done.returncode == 1 and "not mended, and nothing written" in done.stdout
            if done.returncode and not (refused and (repair.conditions or repair.possible is None)):
                yield f"{command.shell}: {done.returncode} {done.stdout}{done.stderr}"
                return
            if done.returncode:
                return
        copy = path.parent / repair.commands[-1].arguments[repair.commands[-1].arguments.index("-o") + 1]
        after = check(copy, target=target)
        if not after.ok:
            yield f"the copy is refused: {after}"
        for command in repair.commands:
            for made in (Path(command.arguments[-1]), copy):
                if made != path and made.parent == path.parent:
                    made.unlink(missing_ok=True)


def main() -> int:
    """Do all, and print."""
    from tests.mend.all_targets import images

    word = sys.argv[sys.argv.index("-k") + 1] if "-k" in sys.argv else ""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for image, path, _ in images(Path(name)):
            if word not in image:
                continue
            here = path
            if path.parent != Path(name):  # nothing is written beside what is not ours
                here = Path(name) / path.name
                here.unlink(missing_ok=True)
                here.symlink_to(path)
            for target in names():
                wrong = list(wrong_about(here, target))
                counts["wrong" if wrong else "right"] += 1
                for sentence in wrong:
                    print(f"{image}, {target}: {sentence}", flush=True)
    print(dict(counts))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
