"""The public names of `llm_economist`: what they load, and the page and the README that show them."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from support.models.pupil import Pupil
from support.pages import blocks
from support.village import scripted_lm

import llm_economist as le

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/python.md"


def test_the_import_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import llm_economist; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "llm_economist" in loaded.stdout.split()
    heavy = {"dspy", "duckdb", "numpy", "pydantic", "rich", "pyarrow", "asyncio", "evals", "pipeline", "programs"}
    assert not heavy & set(loaded.stdout.split())


def test_every_public_name_is_loaded_from_where_the_type_checker_looks() -> None:
    assert sorted(le.__all__) == sorted(le._FOUND_IN) == dir(le)
    for name, place in le._FOUND_IN.items():
        module, _, renamed = place.partition(":")
        assert getattr(le, name) is getattr(importlib.import_module(module), renamed or name)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        le.simulat  # noqa: B018


def test_the_page_names_every_public_name_and_no_other() -> None:
    named = set(re.findall(r"\ble\.(\w+)", PAGE.read_text()))
    assert named == set(le.__all__)
    methods = {name for kind in (le.Run, le.Database) for name in vars(kind) if not name.startswith("_")}
    in_examples = "\n".join(blocks(PAGE, "python"))
    assert {name for name in methods if not re.search(rf"\b(?:run|study)\.{name}\b", in_examples)} <= {"path"}


@pytest.mark.slow
def test_the_example_of_the_readme_runs_on_a_model_that_can_be_taught() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    lm = scripted_lm(Pupil())
    with dspy.context(lm=lm):
        exec(compile(code, "README.md", "exec"), {"lm": lm})
    assert json.loads(Path("worker.json").read_text())["strategy"] == "cot"


@pytest.mark.slow
def test_the_examples_of_the_page_run_in_order() -> None:
    names: dict[str, Any] = {}
    for number, code in enumerate(blocks(PAGE, "python")):
        exec(compile(code, f"docs/python.md, example {number}", "exec"), names)
    assert Path("run.html").exists()
    assert Path("schedule.svg").exists()
