"""`--rules`, `--explain`, `--help`, `--version`, and the names that the package offers."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, TypeAlias

import pytest

import vhdcheck
from vhdcheck import targets
from vhdcheck.command.cli import parser
from vhdcheck.command.config import complete
from vhdcheck.rules import RULES
from vhdcheck.verdict.codes import PRECEDENCE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


def test_rules_lists_every_rule_once(main: Main) -> None:
    done = main("--rules")
    assert (done.returncode, done.stderr, done.stdout.isascii()) == (0, "", True)
    rows = [
        re.fullmatch(r"(VHD\d{3})  (error|warning|note) +(\d{3})  ([a-z0-9-]+) +(\S.*\.)", line)
        for line in done.stdout.splitlines()
    ]
    assert None not in rows
    assert [row[1] for row in rows if row] == sorted(RULES)
    assert [row[4] for row in rows if row] == [RULES[number].slug for number in sorted(RULES)]


def test_every_rule_is_explained_by_number_and_slug(main: Main) -> None:
    for number, rule in RULES.items():
        done = main("--explain", number)
        assert done.returncode == 0
        assert main("--explain", number.lower()).stdout == done.stdout == main("--explain", rule.slug).stdout
        assert done.stdout.isascii()
        first, title, *_ = done.stdout.splitlines()
        assert (first, title) == (f"{number} {rule.slug}", rule.title)
        labels = re.findall(r"^(\w+) +\S", "\n".join(done.stdout.splitlines()[3:]), re.MULTILINE)
        assert labels == ["severity", "code", "source", "checks", "matters", "fix"], number


def test_every_code_is_explained(main: Main) -> None:
    listed = []
    for code in PRECEDENCE:
        done = main("--explain", str(int(code)))
        assert done.returncode == 0
        assert done.stdout.startswith(f"{int(code)}: The image cannot be imported. ")
        listed += re.findall(r"^  (VHD\d{3}) ", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(RULES), "each rule is under one code"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("footer-cheksum", "footer-checksum"), ("VHD1033", "VHD103"), ("trailing-byte", "trailing-bytes")],
)
def test_a_typo_gets_a_suggestion(main: Main, word: str, meant: str) -> None:
    done = main("--explain", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"vhdcheck: unknown rule {word!r}, did you mean {meant!r}?\n"


def test_help_names_every_target_and_default(main: Main) -> None:
    done = main("--help")
    assert (done.returncode, done.stderr, done.stdout.isascii()) == (0, "", True)
    (text,) = [action.help or "" for action in parser()._actions if action.dest == "target"]
    named = text.partition("for: ")[2].partition(", or the path")[0]
    assert sorted(re.sub(r" \([^)]*\)", "", named).split(", ")) == list(targets.names())
    options = parser().parse_args(["--no-config"])
    complete(options)
    assert options.target == targets.DEFAULT
    assert f"{targets.DEFAULT} (default)" in text
    assert "exit status: 0 all images accepted, 1 an image refused, 2 an image could not be checked" in done.stdout


def test_every_option_is_explained_in_help() -> None:
    unexplained = [action.dest for action in parser()._actions if not action.help or action.help is argparse.SUPPRESS]
    assert unexplained == []


def test_version(main: Main) -> None:
    done = main("--version")
    assert (done.returncode, done.stdout) == (0, f"vhdcheck {vhdcheck.__version__}\n")


def test_the_package_s_names() -> None:
    assert sorted(vhdcheck.__all__) == vhdcheck.__all__
    assert set(dir(vhdcheck)) == {*vhdcheck.__all__, "__version__"}
    assert {
        name for name in vhdcheck.__all__ if getattr(vhdcheck, name).__module__.split(".")[0] != "vhdcheck"
    } == set()
    assert {getattr(vhdcheck, name).__name__ for name in vhdcheck.__all__} == set(vhdcheck.__all__)
    with pytest.raises(AttributeError, match="module 'vhdcheck' has no attribute 'chekc'"):
        vhdcheck.chekc  # type: ignore[attr-defined]  # noqa: B018
