"""The action and the README's recipes: valid by their hosts' schemas, and their shell lines run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from junitparser import JUnitXml

from tests.ci.conftest import SOURCE
from tests.helpers import finished
from vhdcheck.command.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed (extra test-ci)")
ACTION = ".github/actions/vhdcheck/action.yml"


@pytest.fixture
def env(wheels: Path) -> dict[str, str]:
    """A machine where pip finds vhdcheck, and nothing else of ours is there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    (wheel,) = wheels.glob("*.whl")
    return {**kept, "RELEASE": str(wheel), "PIP_FIND_LINKS": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def shell(script: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub, GitLab and Azure do: any line that fails ends it. Only the release's address is ours."""
    script = re.sub(rf"{re.escape(SOURCE)}/archive/refs/tags/v[\d.]+\.tar\.gz", env["RELEASE"], script)
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def python_first(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> dict[str, str]:
    """A container of Python's: `python` and what pip installs stand on PATH."""
    folder = tmp_path_factory.mktemp("container")
    finished([sys.executable, "-m", "venv", folder], timeout=120)
    return {**env, "PATH": f"{folder}/bin{os.pathsep}{env['PATH']}"}


def failed_cases(path: Path) -> set[tuple[str, str]]:
    """Return image and rule of each failure in a report of JUnit."""
    return {
        (suite.name, case.result[0].type) for suite in JUnitXml.fromfile(str(path)) for case in suite if case.result
    } - {("skipped", None)}


def validate(builtin: str, path: Path) -> None:
    """Validate a file by the schema that its host publishes."""
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{builtin}", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("workflow.yml", "github-workflows"),
        (".gitlab-ci.yml", "gitlab-ci"),
        ("azure-pipelines.yml", "azure-pipelines"),
    ],
)
def test_recipes_are_valid(recipes: dict[str, str], tmp_path: Path, name: str, schema: str) -> None:
    (tmp_path / name).write_text(recipes[name], encoding="utf-8")
    validate(schema, tmp_path / name)


def test_the_action_is_valid(root: Path) -> None:
    validate("github-actions", root / ACTION)


def test_the_workflow(root: Path) -> None:
    """It runs what is run before a push, on each Python that the package is for."""
    path = root / ".github" / "workflows" / "ci.yml"
    validate("github-workflows", path)
    job = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]["everything"]
    classifiers = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    versions = re.findall(r"(?<=Python :: )3\.\d+", "\n".join(classifiers))
    assert job["strategy"]["matrix"]["python"] == versions
    assert job["steps"][-1] == {"run": "bash .ci/run"}


def test_gitlab(recipes: dict[str, str], images: Path, python_first: dict[str, str]) -> None:
    job = yaml.safe_load(recipes[".gitlab-ci.yml"])["vhdcheck"]
    done = shell("\n".join(job["script"]), images, python_first)
    assert done.returncode == 1
    assert done.stderr.endswith("1 skipped: text, VHDL source?\n")
    assert failed_cases(images / job["artifacts"]["reports"]["junit"]) == {("images/bad.vhd", "VHD701")}
    (images / "images" / "bad.vhd").unlink()
    assert shell("\n".join(job["script"]), images, python_first).returncode == 0


def test_jenkins(recipes: dict[str, str], images: Path, env: dict[str, str]) -> None:
    steps = re.findall(r"\bsh '([^']+)'", recipes["Jenkinsfile"])
    report = re.search(r"\bjunit '([^']+)'", recipes["Jenkinsfile"])
    assert report
    assert [shell(step, images, env).returncode for step in steps] == [0, 1]
    assert failed_cases(images / report[1]) == {("images/bad.vhd", "VHD701")}


def test_azure_pipelines(recipes: dict[str, str], images: Path, env: dict[str, str]) -> None:
    *scripts, publish = yaml.safe_load(recipes["azure-pipelines.yml"])["steps"]
    assert [shell(step["script"], images, env).returncode for step in scripts] == [0, 1]
    failed = failed_cases(images / publish["inputs"]["testResultsFiles"])
    assert {image for image, _ in failed} == {"images/bad.vhd"}
    assert "VHD710" in {rule for _, rule in failed}


def test_the_configuration(recipes: dict[str, str], images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (images / "pyproject.toml").write_text(recipes["pyproject.toml"], encoding="utf-8")
    monkeypatch.chdir(images)
    assert main(["images/good.vhd"]) == 0
    assert main(["images/bad.vhd"]) == 1


def steps_of(action: dict[str, Any], given: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return each step's script and environment, with the inputs in place; no input may stand in a script."""
    values = {f"inputs.{name}": str(about["default"]) for name, about in action["inputs"].items()}
    values |= {f"inputs.{name}": value for name, value in given.items()}
    setup, *scripts = action["runs"]["steps"]
    assert setup["uses"].startswith("actions/setup-python@")
    values[f"steps.{setup['id']}.outputs.python-path"] = sys.executable
    steps = []
    for step in scripts:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input would be run as a command"
        environment = {
            name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: values[found[1]], value)
            for name, value in step.get("env", {}).items()
        }
        steps.append((step["run"], environment))
    return steps


@pytest.fixture(scope="module")
def runner(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What GitHub's runner sets."""
    return {
        "RUNNER_TEMP": str(tmp_path_factory.mktemp("runner")),
        "GITHUB_ACTION_PATH": str(sources / ".github" / "actions" / "vhdcheck"),
    }


def act(images: Path, env: dict[str, str], action: dict[str, Any], **given: str) -> tuple[int, str, str]:
    """Run the action's steps; return the last status, what was printed, and the summary."""
    summary = images / "summary.md"
    summary.write_text("", encoding="utf-8")
    printed = ""
    status = 0
    for script, environment in steps_of(action, given):
        done = shell(script, images, {**env, **environment, "GITHUB_STEP_SUMMARY": str(summary)})
        status, printed = done.returncode, printed + done.stdout + done.stderr
        if status:
            break
    return status, printed, summary.read_text(encoding="utf-8")


def test_the_action(
    root: Path, images: Path, env: dict[str, str], runner: dict[str, str], recipes: dict[str, str]
) -> None:
    action = yaml.safe_load((root / ACTION).read_text(encoding="utf-8"))
    env = {**env, **runner}
    used = yaml.safe_load(recipes["workflow.yml"])["jobs"]["images"]["steps"][1]
    assert used["uses"].startswith(
        f"{SOURCE.removeprefix('https://github.com/')}/{ACTION.removesuffix('/action.yml')}@"
    )
    status, printed, summary = act(images, env, action, **used["with"])
    assert status == 1
    assert "::error file=images/bad.vhd,title=VHD710 disk-type-not-accepted::" in printed
    assert printed.splitlines()[-2].startswith("::notice title=vhdcheck::2 images: 1 accepted, 1 refused; ")
    assert "    images/good.vhd: accepted\n" in summary
    assert all(line.startswith("    ") for line in summary.splitlines()[2:])
    assert '"primaryLocationLineHash"' in (images / used["with"]["sarif"]).read_text(encoding="ascii")

    status, printed, _ = act(images, env, action, paths="images/good.vhd\n\n images/none.vhd\n")
    assert (status, " images/none.vhd" in printed) == (2, True)
    status, printed, _ = act(images, env, action, paths="images/good.vhd")
    assert status == 0
    status, printed, _ = act(images, env, action, paths="--version\n$(touch pwned)\n`touch pwned`")
    assert (status, (images / "pwned").exists()) == (2, False)
    assert "::error file=--version,title=not checked::" in printed
    assert act(images, env, action, paths="images", args="--exit-zero\n--ignore=VHD701")[0] == 0
    assert act(images, env, action, paths="images/good.vhd", sarif="images/good.vhd")[0] == 2, "never over an image"
