"""The hooks of .pre-commit-hooks.yaml, run by pre-commit in a repository of git, as a team would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.ci.conftest import SOURCE
from tests.helpers import finished

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
clientlib = pytest.importorskip("pre_commit.clientlib", reason="pre-commit is not installed (extra test-ci)")

Done: TypeAlias = "subprocess.CompletedProcess[str]"


def git(folder: Path, *words: str) -> None:
    """Run git as nobody in particular, whatever the machine is set to."""
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    finished(["git", *identity, *words], cwd=folder)


@pytest.fixture(scope="module")
def hooks(sources: Path) -> Path:
    """A repository with this project, which pre-commit can clone."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    if not (sources / ".git").exists():
        git(sources, "init", "--quiet", "--initial-branch=main")
        git(sources, "add", "--all")
        git(sources, "commit", "--quiet", "--message=all")
        git(sources, "tag", "v0.1.0")
    return sources


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pre-commit keeps what it installed, for all tests here."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def commit(images: Path, hooks: Path, home: Path) -> Callable[..., Done]:
    """Make `images` a repository with a configuration, and run a hook on the files named, once they are added."""

    def run(config: str, *files: str, hook: str = "vhdcheck") -> Done:
        assert SOURCE in config
        (images / ".pre-commit-config.yaml").write_text(config.replace(SOURCE, str(hooks)))
        git(images, "init", "--quiet")
        git(images, "add", "--force", ".pre-commit-config.yaml", *files)
        words = [sys.executable, "-m", "pre_commit", "run", hook, "--verbose"]
        env = {**os.environ, "PRE_COMMIT_HOME": str(home)}
        return subprocess.run(words, cwd=images, env=env, capture_output=True, text=True, check=False, timeout=300)

    return run


def config(hook: str, arguments: str = "[]") -> str:
    """A configuration with one hook."""
    return f"repos: [{{repo: {SOURCE}, rev: v0.1.0, hooks: [{{id: {hook}, args: {arguments}}}]}}]"


def test_the_hook(commit: Callable[..., Done]) -> None:
    good = commit(config("vhdcheck"), "images/good.vhd", "images/adder.vhd")
    assert (good.returncode, good.stderr) == (0, "")
    assert "Passed" in good.stdout
    assert "images/good.vhd: accepted" in good.stdout
    assert "1 skipped: text, VHDL source?" in good.stdout
    bad = commit(config("vhdcheck"), "images/bad.vhd")
    assert bad.returncode == 1
    assert "Failed" in bad.stdout
    assert "images/bad.vhd: refused: 413: " in bad.stdout


def test_vhdl_source_alone(commit: Callable[..., Done]) -> None:
    done = commit(config("vhdcheck"), "images/adder.vhd")
    assert done.returncode == 0, done.stdout
    assert "no images; 1 skipped: text, VHDL source?" in done.stdout


def test_for_azure(commit: Callable[..., Done], images: Path) -> None:
    (images / "images" / "good.vhd").rename(images / "Disk.AVHD")
    done = commit(config("vhdcheck-azure"), "Disk.AVHD", hook="vhdcheck-azure")
    assert done.returncode == 0, done.stdout
    assert "Disk.AVHD: accepted" in done.stdout
    (images / "pyproject.toml").write_text('[tool.vhdcheck]\nignore = ["VHD"]\n', encoding="ascii")
    done = commit(config("vhdcheck-azure"), "images/bad.vhd", hook="vhdcheck-azure")
    assert done.returncode == 0, "the configuration of the repository holds"
    assert "images/bad.vhd: accepted (1 error ignored)" in done.stdout


def test_the_readme_s_configuration(commit: Callable[..., Done], recipes: dict[str, str]) -> None:
    done = commit(recipes[".pre-commit-config.yaml"], "images/bad.vhd")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "images/bad.vhd: refused: 413: " in done.stdout
    assert "VHD311" not in done.stdout, "as the arguments say"


def test_the_manifest_is_valid(root: Path) -> None:
    loaded = clientlib.load_manifest(str(root / ".pre-commit-hooks.yaml"))
    assert [hook["id"] for hook in loaded] == ["vhdcheck", "vhdcheck-azure"]
