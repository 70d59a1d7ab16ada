"""`python -m tests.mend.killed [TIMES]`: kill the command at random moments, and look at what is left.

It prints how often the command had come to its end, and exits 1 where anything was lost. Each way is killed a hundred
times by default, from the first fifth of a whole run's time on.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from fixtures.writer import MIB, fixed

TIMES: Final = 100
SIZE: Final = 64 * MIB
ROOT: Final = Path(__file__).resolve().parents[2]
WITHOUT: Final = """
import os, runpy
for name in {names}:
    delattr(os, name)
runpy.run_module("vhdcheck.mend", run_name="__main__")
"""
WAYS: Final = {
    "-o, no name until the end": (["-o", "out.vhd"], []),
    "-o, a temporary name": (["-o", "out.vhd"], ["O_TMPFILE"]),
    "-o, no hard links": (["-o", "out.vhd"], ["O_TMPFILE", "link"]),
    "--in-place": (["--in-place"], []),
    "--in-place, a temporary name": (["--in-place"], ["O_TMPFILE"]),
}


def run(folder: Path, words: list[str], names: list[str], after: float | None = None) -> int:
    """Run the command, or kill it after some time; return how it ended."""
    line = [sys.executable, "-c", WITHOUT.format(names=names), "in.vhd", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        line, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        if after is not None:
            time.sleep(after)
            process.kill()
        return process.wait()


def main(times: int = TIMES) -> int:
    """Kill, look, and mend again."""
    content = random.Random(1).randbytes(SIZE)
    good = content + fixed(SIZE).tobytes()[SIZE:]
    bad = content + fixed(SIZE, hidden=1).tobytes()[SIZE:]
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, out = folder / "in.vhd", folder / "out.vhd"
        for way, (words, names) in WAYS.items():
            ends: Counter[str] = Counter()
            result = image if words == ["--in-place"] else out
            out.unlink(missing_ok=True)
            image.write_bytes(bad)
            start = time.monotonic()
            assert run(folder, words, names) == 0
            whole = time.monotonic() - start
            assert result.read_bytes() == good
            for _ in range(times):
                out.unlink(missing_ok=True)
                image.write_bytes(bad)
                ended = run(folder, words, names, after=whole * random.uniform(0.2, 1.5)) == 0
                left = {path.name for path in folder.iterdir()} - {"in.vhd", "out.vhd"}
                now = image.read_bytes()
                is_right = now in ((bad, good) if result is image else (bad,))
                if out.exists():
                    is_right &= out.read_bytes() == good or (names[-1:] == ["link"] and not out.stat().st_size)
                is_right &= not left or bool(names)
                status = run(folder, words, names)
                is_right &= status == 0 or (status == 2 and result is out and out.exists())
                is_right &= result.read_bytes() == good
                is_right &= {path.name for path in folder.iterdir()} <= {"in.vhd", result.name}
                ends["came to its end" if ended else "left a temporary file" if left else "left nothing"] += 1
                faults += not is_right
            print(f"{way}: {whole:.2f} s; {', '.join(f'{number} {what}' for what, number in ends.items())}", flush=True)
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
