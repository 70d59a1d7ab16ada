"""Every fixture, oracle and corpus image, for every target, through plan and mend: `python -m tests.mend.all_targets`.

What the plan says that can be done is done, accepted by the target, and opened by qemu-img, 7zz, vhdiinfo (and
vhd-util, where it is on PATH) with the same size; the guest's data is what `struct` alone reads of the image. What the
plan says that cannot be done is refused with the same words. Prints how many refused images became accepted, by code,
and what did not hold; exit status 1 then. Takes a quarter of an hour on an
idle machine. `-k WORD`: only images with that in their names.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fixtures.recipes import CASES, NOW
from tests.conftest import SHARED
from tests.corpus.conftest import _rebuilt, _records
from tests.mend.conftest import assert_holds_the_same, assert_is_what_it_says, option
from vhdcheck import check
from vhdcheck.mend import mend, plan
from vhdcheck.targets import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.mend import Mending

LATER: Final = 1_798_761_600


def images(folder: Path) -> Iterator[tuple[str, Path, float]]:
    """Yield name, path and the time to judge by."""
    for case in CASES:
        yield f"fixture {case.name}", case.build().write(folder / "in.vhd"), NOW
    if not SHARED.is_dir():
        print("../shared is absent: no oracle, no corpus")
        return
    for name in ("cases.jsonl", "cases-2.jsonl", "reports.jsonl"):
        for record in _records(SHARED / "oracle" / name):
            yield f"oracle {record['name']}", _rebuilt(record, folder / "in.vhd"), LATER
    for record in _records(SHARED / "corpus" / "large.jsonl"):
        yield f"corpus {record['name']}", _rebuilt(record, folder / "in.vhd"), LATER
    for line in (SHARED / "corpus" / "INDEX.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        path = SHARED / "corpus" / line.partition("\t")[0]
        if path.exists():
            yield f"corpus {path.name}", path, LATER


def opened_by_others(out: Path, mending: Mending) -> Iterator[str]:
    """Yield which reader does not open the copy with the size that the plan says."""
    if mending.plan.disk_type == "differencing":
        return
    rebuilt = {step.kind for step in mending.plan.steps} - {"correct", "cut"}
    named = ("-f", "vpc", out) if rebuilt else ("--image-opts", option(out))
    done = _run("qemu-img", "info", "--output=json", *named)
    if done.returncode or json.loads(done.stdout)["virtual-size"] != mending.plan.size:
        yield f"qemu-img: {done.stderr[-200:]}"
    done = _run("7zz", "l", "-slt", out)
    sizes = re.findall(r"^Size = (\d+)", done.stdout, re.MULTILINE)
    if rebuilt and (done.returncode or sizes[-1:] != [str(mending.plan.size)]):
        yield f"7zz: {done.stdout[-200:]}"
    if out.stat().st_size % 512:  # a footer of 511 bytes, which libvhdi does not know, stays one where it is corrected
        return
    done = _run("vhdiinfo", out)
    media = re.search(r"Media size.*?(\d+) bytes", done.stdout)
    if done.returncode or (rebuilt and (media is None or media[1] != str(mending.plan.size))):
        yield f"vhdiinfo: {done.stdout[-200:]}"
    if rebuilt and shutil.which("vhd-util"):
        done = _run("vhd-util", "check", "-t", "-n", out)  # -t: the time to judge by is another here
        if done.returncode:
            yield f"vhd-util: {done.stdout[-200:]}"


def _run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=120)


def held(path: Path, out: Path, target: str, now: float) -> tuple[str, list[str]]:
    """Mend an image; return what became of it, and what did not hold."""
    out.unlink(missing_ok=True)
    before, said = check(path, target=target, now=now), plan(path, target=target, now=now)
    mending = mend(path, out, target=target, now=now)
    wrong = []
    if not mending.ok:
        if said.possible and not said.conditions:
            wrong.append(f"the plan said that it can be: {mending.reasons}")
        if not said.possible and said.reasons != mending.reasons:
            wrong.append(f"other words: {said.reasons} {mending.reasons}")
        if before.ok or out.exists():
            wrong.append("an accepted image is refused, or something was written")
        return "refused by a condition" if said.possible else "refused", wrong
    if not said.possible or not check(out, target=target, now=now).ok:
        wrong.append("the plan said that it cannot be, or the copy is refused")
    try:
        rebuilt = {step.kind for step in mending.plan.steps} - {"correct", "cut"}
        (assert_holds_the_same if rebuilt else assert_is_what_it_says)(path, out, mending)
    except AssertionError as error:
        wrong.append(f"other data: {error}")
    nested = {"content-looks-like-image", "vhd-in-vhd"} & {finding.slug for finding in before.findings}
    if mending.plan.steps and not nested:  # of an image in the disk, some readers take that one
        wrong += opened_by_others(out, mending)
    return "accepted before" if before.ok else "became accepted", wrong


def main() -> int:
    """Do all, and print."""
    word = sys.argv[sys.argv.index("-k") + 1] if "-k" in sys.argv else ""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for image, path, now in images(folder):
            if word not in image:
                continue
            for target in names():
                code = check(path, target=target, now=now).code
                outcome, wrong = held(path, folder / "out.vhd", target, now)
                counts["all" if code is None else str(int(code))][outcome] += 1
                for sentence in wrong:
                    failures += 1
                    print(f"{image}, {target}: {sentence}", flush=True)
    for code_name, outcomes in sorted(counts.items()):
        print(code_name, ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())))
    print(f"{failures} things did not hold")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
