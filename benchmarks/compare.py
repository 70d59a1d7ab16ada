"""vhdcheck beside other readers, on the same images, in one run: `python -m benchmarks.compare [ROUNDS]`.

Every round runs every tool once on every image, so that a busy moment of the machine meets all of them alike; medians,
and ratios of them, are printed and written into `benchmarks/README.md` with a picture of cost by entries. Tools that
are not installed, and those that fail, are named. The Python ones come with `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.images import full
from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fixtures.writer import Image

README: Final = Path(__file__).with_name("README.md")
START, END_MARK = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
MANY: Final = 2000
MORE: Final = 10_000
SCAN: Final = 129
"""Microseconds a file of `vhd-util scan -f -m`, which checks no table, measured where that tool could be built."""

IMAGES: Final[dict[str, Callable[[], Image]]] = {
    "fixed 1 GiB": lambda: fixed(1 * GIB),
    "fixed 40 GiB": lambda: fixed(40 * GIB),
    "dynamic 10 MiB": lambda: dynamic(10 * MIB, blocks=[0, 3]),
    "40 GiB empty": lambda: dynamic(40 * GIB),
    "40 GiB full": lambda: full(40 * GIB),
    "40 GiB shuffled": lambda: full(40 * GIB, shuffled=True),
    "2040 GiB full": lambda: full(2040 * GIB),
    "2040 GiB shuffled": lambda: full(2040 * GIB, shuffled=True),
}
VHDCHECK: Final = (sys.executable, "-m", "vhdcheck", "--target", "generic", "--max-virtual-size", "4096GiB")
PROCESSES: Final = {
    "vhdcheck": VHDCHECK,
    "python -c pass": (sys.executable, "-c", "pass"),
    "imports of a fixed image": (sys.executable, "-c", "import construct, argparse, json"),
    "imports of a dynamic one": (sys.executable, "-c", "import construct, argparse, json, numpy"),
    "vhdcheck --help": (sys.executable, "-m", "vhdcheck", "--help"),
    "qemu-img info": ("qemu-img", "info", "-f", "vpc"),
    "vhdiinfo": ("vhdiinfo",),
    "7zz l": ("7zz", "l"),
    "vhd-util check": ("vhd-util", "check", "-n"),
}
NO_IMAGE: Final = frozenset(
    {"python -c pass", "imports of a fixed image", "imports of a dynamic one", "vhdcheck --help"}
)

METADATA: Final = """
import os
def do(path):
    file = os.open(path, os.O_RDONLY)
    size = os.fstat(file).st_size
    head = os.pread(file, 4096, 0)
    os.pread(file, 4096, size - 4096)
    entries = int.from_bytes(head[540:544], "big") if head[512:520] == b"cxsparse" else 0
    table = os.pread(file, 4 * entries, 1536)
    os.close(file)
    return table
"""
SORTED: Final = """
import numpy as np
read = do
def do(path): np.sort(np.frombuffer(read(path) or bytes(4), ">u4").astype(np.uint32))
"""
OSLO: Final = """
from oslo_utils.imageutils import format_inspector
def do(path): format_inspector.detect_file_format(path)
"""
DISSECT: Final = """
from dissect.hypervisor.disk.vhd import VHD
def do(path):
    with open(path, "rb") as file:
        VHD(file)
"""
PYVHDI: Final = """
import pyvhdi
def do(path):
    file = pyvhdi.file()
    file.open(path)
    file.close()
"""
IN_PROCESS: Final = {
    "vhdcheck": ("vhdcheck", "from vhdcheck import check\ndef do(path): check(path, target='generic')"),
    "read the metadata": ("os", METADATA),
    "read it and sort the table": ("numpy", METADATA + SORTED),
    "oslo.utils detect": ("oslo_utils", OSLO),
    "dissect open": ("dissect.hypervisor", DISSECT),
    "pyvhdi open": ("pyvhdi", PYVHDI),
}
"""By tool: the module that it takes, and a program that defines what is timed."""
LOOP: Final = """
import sys, time, warnings
warnings.simplefilter("ignore")
path, times = sys.argv[1], []
for _ in range(3): do(path)
last = time.perf_counter() + 0.3
while time.perf_counter() < last or len(times) < 5:
    start = time.perf_counter(); do(path); times.append(time.perf_counter() - start)
times.sort()
print(times[len(times) // 2])
"""
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As where it is installed: modules are compiled once, not in each process."""

Timings = dict[tuple[str, str], list[float]]


def seconds(command: Sequence[str | Path]) -> float:
    """Time a process, which may judge as it likes."""
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, env=ENVIRONMENT)
    if done.returncode not in (0, 1, 22):
        raise OSError(f"exit status {done.returncode}")
    return time.perf_counter() - start


def inside(program: str, path: Path) -> float:
    """Return a function's median time within one process, in seconds."""
    command = (sys.executable, "-c", program + LOOP, str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=120)
    if done.returncode:
        raise OSError(done.stderr.strip().rpartition("\n")[2] or "failed")
    return float(done.stdout)


def measured(rounds: int, paths: dict[str, Path], problems: dict[str, str]) -> tuple[Timings, Timings]:
    """Run everything, by turns: processes, and loops within one. What fails is left out from then on."""
    processes: Timings = {}
    loops: Timings = {}
    for _, (image, path) in itertools.product(range(rounds), paths.items()):
        for tool in (*PROCESSES, *IN_PROCESS):
            name = f"{tool}, {image}"
            if tool in problems or name in problems:
                continue
            try:
                if tool in PROCESSES and (tool not in NO_IMAGE or image == "fixed 1 GiB"):
                    command = PROCESSES[tool] if tool in NO_IMAGE else (*PROCESSES[tool], str(path))
                    processes.setdefault((tool, image), []).append(seconds(command))
                if tool in IN_PROCESS:
                    loops.setdefault((tool, image), []).append(inside(IN_PROCESS[tool][1], path))
            except (OSError, subprocess.TimeoutExpired) as error:
                problems[name] = str(error)
    return processes, loops


def missing() -> dict[str, str]:
    """Name the tools that are not here."""
    absent = {tool: "not on PATH" for tool, command in PROCESSES.items() if shutil.which(command[0]) is None}
    for tool, (module, _) in IN_PROCESS.items():
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            absent[tool] = "not installed"
    return absent


def table(timings: Timings, unit: float, images: Sequence[str]) -> list[str]:
    """Write medians as a table, with the ratio to vhdcheck's."""
    tools = list(dict.fromkeys(tool for tool, _ in timings))
    lines = ["| | " + " | ".join(images) + " |", "|---" * (len(images) + 1) + "|"]
    for tool in tools:
        cells = []
        for image in images:
            times, ours = timings.get((tool, image)), timings.get(("vhdcheck", image))
            if not times or not ours:
                cells.append("–")
                continue
            median = statistics.median(times) * unit
            ratio = statistics.median(times) / statistics.median(ours)
            cells.append(f"{median:,.{0 if median >= 100 else 1}f}".replace(",", " ") + f" ({ratio:.2f})")
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return lines


def many(folder: Path, problems: dict[str, str]) -> list[str]:
    """Measure runs over many small images: one command of ours, one process a file of others."""
    original = dynamic(10 * MIB, blocks=[0, 3]).write(folder / "small.img")
    images = folder / "many"
    images.mkdir()
    for index in range(MORE):
        os.link(original, images / f"{index:05}.vhd")
    half = folder / "fewer.txt"
    half.write_text("".join(f"{images}/{index:05}.vhd\n" for index in range(MANY)), encoding="utf-8")
    ours = [*VHDCHECK, "--format", "jsonl"]
    rates = {
        f"vhdcheck, {MANY} images": MANY / seconds([*ours, "--files-from", half]),
        f"vhdcheck --jobs 2, {MANY} images": MANY / seconds([*ours, "--jobs", "2", "--files-from", half]),
        f"vhdcheck --jobs 2, {MORE} images": MORE / seconds([*ours, "--jobs", "2", images]),
    }
    for tool in ("qemu-img info", "vhdiinfo", "7zz l", "vhd-util check"):
        if tool not in problems:
            rates[f"{tool}, a process each"] = 200 / sum(
                seconds([*PROCESSES[tool], images / f"{index:05}.vhd"]) for index in range(200)
            )
    best = rates[f"vhdcheck --jobs 2, {MORE} images"]
    rows = [f"| {name} | {rate:,.0f} | {1e6 / rate:,.0f} | {best / rate:.1f} |" for name, rate in rates.items()]
    head = ["| | images/s | µs each | `--jobs 2` is so many times faster |", "|---|---|---|---|"]
    return [*head, *rows, f"| `vhd-util scan -f -m`, elsewhere | | {SCAN} | {SCAN * best / 1e6:.1f} |"]


def curve(folder: Path) -> None:
    """Draw the time of a check by the entries of its table."""
    import matplotlib as mpl  # noqa: PLC0415 (extra "bench")

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "vhdcheck"
    figure, axes = plt.subplots(figsize=(6, 3.5))
    for label, shuffled in (("in order", False), ("shuffled", True)):
        points = []
        for gib in (1, 4, 16, 64, 256, 1024, 2040):
            path = full(gib * GIB, shuffled=shuffled).write(folder / "curve.vhd")
            points.append((gib * 512, 1000 * min(inside(IN_PROCESS["vhdcheck"][1], path) for _ in range(3))))
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="blocks in use", ylabel="ms", title="A check by the blocks of its image"
    )
    axes.legend()
    figure.savefig(README.with_name("cost.svg"), metadata={"Date": None}, bbox_inches="tight")


def main(rounds: int) -> None:
    """Measure, print and write."""
    problems = missing()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {image: make().write(folder / f"{image.replace(' ', '-')}.vhd") for image, make in IMAGES.items()}
        seconds([*VHDCHECK, paths["40 GiB full"]])  # modules are compiled, files in the cache
        processes, loops = measured(rounds, paths, problems)
        rates = many(folder, problems)
        if importlib.util.find_spec("matplotlib") is None:
            problems["matplotlib"] = "not installed: no picture"
        else:
            curve(folder)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    machine = f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}"
    lines = [
        f"{machine}, Python {platform.python_version()}; {rounds} rounds, load {load}.",
        "Medians, and in brackets the ratio to vhdcheck's.",
        "",
        "A process for each image, ms:",
        "",
        *table(processes, 1e3, list(IMAGES)),
        "",
        "Within one process, µs (others open the image, vhdcheck judges all of it):",
        "",
        *table(loops, 1e6, list(IMAGES)),
        "",
        "Many small dynamic images:",
        "",
        *rates,
        "",
        "Not measured: " + ("; ".join(f"{what}: {why}" for what, why in problems.items()) or "nothing") + ".",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    README.write_text(before + START + text + END_MARK + rest.partition(END_MARK)[2], encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
