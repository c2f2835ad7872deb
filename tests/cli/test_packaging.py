"""The installed package: its modules, data files and dependencies."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("signatures", "programs", "pipeline", "evals")


def test_no_other_distribution_installs_our_package_names():
    owners = packages_distributions()
    for name in (*OURS, "llm_economist"):
        assert set(owners.get(name, ["llm-economist"])) == {"llm-economist"}


def test_the_console_script_is_ours():
    (script,) = entry_points(group="console_scripts", name="llm-economist")
    assert script.value == "evals.cli.main:program"


def test_the_wheel_has_every_package_and_the_public_module():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert settings["hatch"]["build"]["targets"]["wheel"]["packages"] == [*OURS, "llm_economist.py"]
    assert [*settings["mypy"]["packages"], *settings["mypy"]["modules"]] == [*OURS, "llm_economist"]


def test_data_is_found_as_resources():
    assert "CREATE TABLE" in files("pipeline").joinpath("store", "schema.sql").read_text()
    assert files("pipeline").joinpath("data", "occupations.csv").is_file()


def test_the_economy_knows_neither_dspy_nor_duckdb():
    code = "import sys, pipeline.economy.baselines; print([m for m in ('dspy', 'duckdb') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_init_files_are_empty():
    for package in OURS:
        for path in (ROOT / package).rglob("__init__.py"):
            assert path.read_text() == ""


def test_python_version_and_dependencies_are_bounded():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "dspy>=3.4.1,<3.5" in project["dependencies"]
    assert "Private :: Do Not Upload" in project["classifiers"]


OPTIONAL = ("torch", "wandb", "altair", "xllamacpp", "opentelemetry", "mlflow", "trackio")


@pytest.mark.slow
def test_optional_packages_are_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if name.startswith(OPTIONAL)]
    code = f"import sys, evals.run.command; print(sorted(set({OPTIONAL}) & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
