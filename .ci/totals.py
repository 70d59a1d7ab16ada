"""Read what the steps of `.ci/run` wrote: name what their tests skipped, and add up pytest's closing lines into one."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

CLOSING = re.compile(r"=* ?((?:\d+ [a-z]+, )*\d+ [a-z]+) in ([\d.]+)s(?: \([\d:]+\))? ?=*")
SKIPPED = re.compile(r"SKIPPED \[(\d+)\] \S+: (.*)")
ORDER = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warnings", "errors")


def main(folder: Path) -> None:
    """Print, for the logs in a folder, how many tests each skipped and why; as the last line pytest's totals."""
    counts: Counter[str] = Counter()
    seconds = 0.0
    for log in sorted(folder.iterdir()):
        lines = log.read_text("utf-8", "replace").splitlines()
        skipped: Counter[str] = Counter()
        for told in filter(None, map(SKIPPED.match, lines)):
            skipped[told[2]] += int(told[1])
        if skipped:
            reasons = (f"{number:4} {reason}" for reason, number in sorted(skipped.items()))
            print(f"{log.name.partition(' ')[2]}:", *reasons, sep="\n  ")
        closing = [found for line in lines if (found := CLOSING.fullmatch(line))]
        for found in closing[-1:]:
            seconds += float(found[2])
            for each in found[1].split(", "):
                number, word = each.split()
                counts[word if word in ORDER else word + "s"] += int(number)
    parts = [f"{counts[word]} {word}" for word in ORDER if counts[word]] or ["no tests ran"]
    print(f"\n===== {', '.join(parts)} in {seconds:.2f}s =====")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
