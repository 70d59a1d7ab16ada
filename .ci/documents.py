"""Keep the generated parts of the documents true: what stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`.

Rewrites them, or, with --check, prints what would change and exits 1. A part stands in one document, whichever it is.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from vhdcheck import report, targets
from vhdcheck.rules import RULES
from vhdcheck.tasks.__main__ import serve_options
from vhdcheck.verdict.codes import MEANINGS, PRECEDENCE, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = re.compile(r"(?<=https://github\.com/)[\w.-]+/vhdcheck\b|(?<=uses: )[\w.-]+/vhdcheck\b")
"""Where a recipe says from where vhdcheck comes; pyproject.toml decides it."""
PART = re.compile(r"^(<!-- begin: (\S+) -->\n).*?^(<!-- end: \2 -->)$", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """List the documents of the project: README.md, and those that lie where their subject lies."""
    places = ("*.md", ".github/*.md", "vhdcheck/*/*.md", "benchmarks/*.md", "fixtures/*.md")
    return sorted(path for place in places for path in ROOT.glob(place))


def table(*rows: Iterable[object]) -> str:
    """Write a Markdown table; the first row is its head."""
    cells = [[" ".join(str(cell).split()).replace("|", r"\|") for cell in row] for row in rows]
    cells.insert(1, ["---"] * len(cells[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


FAMILIES = {
    "1": "VHD1xx: the footer, its copy, and the disk's size and geometry",
    "2": "VHD2xx: the dynamic header",
    "3": "VHD3xx: the block allocation table, and where blocks and metadata lie",
    "4": "VHD4xx: space in the file, sector bitmaps, and XenServer's batmap",
    "5": "VHD5xx: differencing disks and their parents",
    "6": "VHD6xx: the file as a whole",
    "7": "VHD7xx: limits and demands of the target",
    "9": "VHD9xx: vhdcheck itself",
}


def rules() -> str:
    """A section a family, one line a rule."""
    parts = []
    for hundred, title in FAMILIES.items():
        family = [rule for rule in RULES.values() if rule.id[3] == hundred]
        rows = ((r.id, f"`{r.slug}`", r.severity.word, int(r.code), r.title, r.matters, r.spec) for r in family)
        head = ("rule", "name", "severity", "code", "what it finds", "what it means", "source")
        parts.append(f"## {title}\n\n{table(head, *rows)}")
    return "\n".join(parts)


def accepted_by() -> str:
    """What each target accepts, the default first."""
    names = sorted(targets.names(), key=lambda name: (name != targets.DEFAULT, name == "generic", name))
    rows = ((f"`{name}`" + " (default)" * (name == targets.DEFAULT), targets.load(name).accepts) for name in names)
    return table(("target", "accepts, over and above the format"), *rows)


def codes() -> str:
    """The message codes, the one that heads a report before the ones that it outranks."""
    return table(
        ("code", "message", "heads the report when"),
        *((int(c), TEXTS[c].format(limit="*limit*"), MEANINGS[c]) for c in PRECEDENCE),
    )


def usage() -> str:
    """What `--help` prints."""
    command = [sys.executable, "-m", "vhdcheck", "--help"]
    env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return f"```text\n{done.stdout.strip()}\n```\n"


def run(*arguments: str, folder: Path = ROOT) -> str:
    """What the command prints about an image of `fixtures/`, or of another folder."""
    command = [sys.executable, "-m", "vhdcheck", *arguments]
    env = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, check=False, stdout=subprocess.PIPE, encoding="utf-8")
    text = done.stdout.strip().replace(sys.executable, "python")  # what runs here is not what runs there
    return f"```console\n$ python -m vhdcheck {' '.join(arguments)}\n{text}\n```\n"


USED = "[*range(180), *range(400, 1000, 4), *range(900, 1400, 3), 2000, 2001, 2002]"
IMAGE = f"dynamic(4 * GIB, blocks=dict.fromkeys({USED}), bat={{1500: 4101}}, spacing=4104).write('web-1.vhd')"


def picture() -> str:
    """The map of an image that is too large to keep, and has one bad entry."""
    with TemporaryDirectory() as folder:
        program = f"from fixtures.writer import GIB, dynamic; {IMAGE}"
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program], cwd=folder, env=env, check=True)
        return run("--map", "web-1.vhd", folder=Path(folder))


def settings() -> str:
    """What the operator of the task service may decide."""
    rows = (
        (
            f"`{' '.join(filter(None, (action.option_strings[0], action.metavar)))}`",
            *str(action.help).rstrip(")").partition(" (default: ")[::2],
        )
        for action in serve_options()
    )
    return table(
        ("option of `serve`", "default", "what it is"),
        *((name, f"`{usual}`" if usual else "", text) for name, text, usual in rows),
    )


def forms() -> str:
    """The forms of a report, by the first lines of their modules."""
    rows = []
    for name in report.names():
        module = sys.modules[report.load(name).part.__module__]
        line = str(module.__doc__).partition("\n")[0].rstrip(".")
        when = "at the end" if module.WHOLE else "as images are checked"
        rows.append((f"`--format {name}`", line[0].lower() + line[1:], when))
    return table(("form", "what it is", "written"), *rows)


PARTS = {
    "forms": forms,
    "settings": settings,
    "rules": rules,
    "help": usage,
    "codes": codes,
    "targets": accepted_by,
    "refused": lambda: run("fixtures/qemu/dynamic-40g.vhd"),
    "accepted": lambda: run("fixtures/dynamic-clean.vhd"),
    "map": picture,
}


def main(arguments: list[str]) -> int:
    """Bring the documents up to date, or say which are not."""
    if arguments not in ([], ["--check"]):
        print("usage: documents.py [--check]", file=sys.stderr)
        return 2
    texts = {path: path.read_text(encoding="utf-8") for path in documents()}
    if sorted(name for text in texts.values() for _, name, _ in PART.findall(text)) != sorted(PARTS):
        print(f"each of {', '.join(PARTS)} must have its markers in one document, and nothing else", file=sys.stderr)
        return 1
    status = 0
    for path, old in texts.items():
        new = PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n{part[3]}", old)
        new = SOURCE.sub(PROJECT["urls"]["Source"].removeprefix("https://github.com/"), new)
        if new == old:
            continue
        if not arguments:
            path.write_text(new, encoding="utf-8", newline="\n")
            continue
        name, lines = str(path.relative_to(ROOT)), (text.splitlines(keepends=True) for text in (old, new))
        sys.stdout.writelines(difflib.unified_diff(*lines, name, "generated"))
        print(f"{name} is out of date: python .ci/documents.py", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
