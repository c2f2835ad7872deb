"""The program as users get it: a wheel in an empty environment, `uvx`, and a container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support.containerfile import ROOT, copied, instructions, last_stage, words

CONTAINERFILE = (ROOT / "Containerfile").read_text()
UV = shutil.which("uv")
TINY = ("run", "--llm", "rules", "--num-agents", "3", "--max-timesteps", "2", "--two-timescale", "2")


def builder() -> str | None:
    """A program that builds images here."""
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    return None


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    own = ("VIRTUAL_ENV", "PYTHONPATH", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the Containerfile copies, and no others."""
    folder = tmp_path_factory.mktemp("source")
    for name, target in copied(CONTAINERFILE):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / target, ignore=shutil.ignore_patterns("__pycache__", "__marimo__"))
        else:
            (folder / target).mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / target)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(UV is None, reason="needs uv")
def test_a_wheel_in_an_empty_environment_plays_from_any_folder(source: Path, tmp_path: Path) -> None:
    assert UV
    run(UV, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(source), cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    packages = [source / name for name in ("signatures", "programs", "pipeline", "evals")]
    ours = {str(file.relative_to(source)) for folder in packages for file in folder.rglob("*") if file.is_file()}
    with zipfile.ZipFile(wheel) as content:
        packed = {name for name in content.namelist() if ".dist-info/" not in name}
    assert packed == {*ours, "llm_economist.py", "evals/experiments/paper_targets.toml"}
    run(UV, "venv", "--quiet", str(tmp_path / "env"), cwd=tmp_path)
    python = str(tmp_path / "env" / "bin" / "python")
    pins = str(ROOT / "constraints.txt")
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", pins, str(wheel), cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = str(tmp_path / "env" / "bin" / "llm-economist")
    assert "Usage: llm-economist" in run(program, "--help", cwd=elsewhere).stdout
    assert "2/2" in run(program, *TINY, cwd=elsewhere).stdout
    rows = run(program, "sql", "select count(*) as years from years", "--json", cwd=elsewhere).stdout
    assert json.loads(rows) == [{"years": 2}]
    assert run(program, "laws", cwd=elsewhere).stdout.count("\n") > 10, "data files are in the wheel"


@pytest.mark.slow
@pytest.mark.skipif(UV is None, reason="needs uv")
def test_uvx_runs_the_program_out_of_a_folder(source: Path, tmp_path: Path) -> None:
    assert UV
    pins = str(ROOT / "constraints.txt")
    command = ("tool", "run", "--quiet", "--constraints", pins, "--from", str(source), "llm-economist")
    assert "2/2" in run(UV, *command, *TINY, cwd=tmp_path).stdout
    assert (tmp_path / "economist.duckdb").exists()


def test_the_container_has_no_root_no_key_and_a_volume_for_the_database() -> None:
    image = dict(last_stage(CONTAINERFILE))
    assert int(image["USER"]) > 0
    assert image["VOLUME"] == image["WORKDIR"] == "/data"
    assert words(image["ENTRYPOINT"]) == ["llm-economist"]
    for word, rest in instructions(CONTAINERFILE):
        assert word != "ADD", "ADD may fetch addresses"
        assert not (word in ("ENV", "ARG") and re.search("KEY|TOKEN|SECRET|PASSWORD", rest, re.IGNORECASE))
        assert not re.search(r"https?://", rest)
    order = [word for word, _ in last_stage(CONTAINERFILE)]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert "RUN" not in order[order.index("USER") :]


def test_the_container_installs_pinned_versions_and_copies_named_files_only() -> None:
    assert "--constraint constraints.txt" in CONTAINERFILE
    assert all(word != "FROM" or re.match(r"python:\d+\.\d+-", rest) for word, rest in instructions(CONTAINERFILE))
    kept = [line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")]
    for name, _ in copied(CONTAINERFILE):
        assert name != "."
        assert (ROOT / name).exists(), name
        assert name in kept, f"{name} is ignored, and copied"


@pytest.mark.parametrize("line", ["USER root", "RUN apt-get install -y curl", "FROM python:latest"])
def test_the_linter_notices(tmp_path: Path, line: str) -> None:
    (tmp_path / "Containerfile").write_text(f"{CONTAINERFILE.rpartition('ENTRYPOINT')[0]}{line}\n")
    assert lint(tmp_path / "Containerfile") != 0


def test_the_container_passes_its_linter() -> None:
    assert lint(ROOT / "Containerfile") == 0


def lint(file: Path) -> int:
    program = str(Path(sysconfig.get_path("scripts")) / "hadolint")
    return subprocess.run([program, "--no-color", str(file)], capture_output=True, check=False).returncode


@pytest.mark.slow
def test_the_container_plays_into_its_volume(tmp_path: Path) -> None:
    name = builder()
    if name is None:
        pytest.skip("neither podman nor a docker daemon is here")
    tag = "llm-economist:test"
    run(name, "build", "--quiet", "--file", str(ROOT / "Containerfile"), "--tag", tag, str(ROOT), cwd=tmp_path)
    assert run(name, "run", "--rm", "--entrypoint", "id", tag, "-u", cwd=tmp_path).stdout.strip() == "10001"
    assert "2/2" in run(name, "run", "--rm", tag, *TINY, cwd=tmp_path).stdout
