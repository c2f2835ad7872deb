"""The hash of the code: what counts as another code, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.code_version import code_hash

MODULE = '''"""A module."""

import os
from pipeline.economy.tax import due, owed

RATE = 0.3
"""A share."""


class Question(Signature):
    """Choose your hours."""

    hours: int = 1


class Plain:
    """A class without a base."""


def tax(income):
    """Dollars."""
    return RATE * income  # the same for all


async def later(rate=RATE):
    return f"{rate:.1f}"
'''
SAME = {
    "a comment": ("  # the same for all", ""),
    "the docstring of the module": ("A module.", "Other words."),
    "the docstring of a function": ('    """Dollars."""\n', ""),
    "the docstring of a plain class": ("A class without a base.", "Words."),
    "the words about a name": ('"""A share."""\n', ""),
    "layout": ("RATE * income", "(\n        RATE\n        * income\n    )"),
    "quotes": ('f"{rate:.1f}"', "f'{rate:.1f}'"),
    "a module that moved": ("from pipeline.economy.tax import due, owed", "from pipeline.taxes import owed, due"),
}
OTHER = {
    "a number": ("0.3", "0.4"),
    "an operation": ("RATE * income", "RATE + income"),
    "the docstring of a signature": ("Choose your hours.", "Choose your hours wisely."),
    "a name that is imported": ("import due, owed", "import due, paid as owed"),
    "a default": ("rate=RATE", "rate=None"),
    "async": ("async def later", "def later"),
    "a format": (":.1f", ":.2f"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for package in ("signatures", "programs", "pipeline", "evals"):
        (tmp_path / package).mkdir()
    (tmp_path / "pipeline/tax.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME)
def test_words_and_layout_do_not_make_another_code(root: Path, old: str, new: str) -> None:
    before = code_hash(root)
    assert old in MODULE
    (root / "pipeline/tax.py").write_text(MODULE.replace(old, new))
    assert code_hash(root) == before


@pytest.mark.parametrize(("old", "new"), OTHER.values(), ids=OTHER)
def test_what_decides_a_run_makes_another_code(root: Path, old: str, new: str) -> None:
    before = code_hash(root)
    assert old in MODULE
    (root / "pipeline/tax.py").write_text(MODULE.replace(old, new))
    assert code_hash(root) != before


def test_a_file_may_move_and_be_renamed(root: Path) -> None:
    (root / "programs/a.py").write_text("HOURS = 40")
    before = code_hash(root)
    (root / "pipeline/economy").mkdir()
    (root / "pipeline/tax.py").rename(root / "pipeline/economy/a.py")
    (root / "programs/a.py").rename(root / "programs/z.py")
    assert code_hash(root) == before


def test_data_counts_by_its_bytes_and_the_reports_do_not_count(root: Path) -> None:
    seen = {code_hash(root)}
    (root / "evals/report.py").write_text("1")
    assert code_hash(root) in seen
    for text in ("a", "a "):
        (root / "pipeline/data.csv").write_text(text)
        assert code_hash(root) not in seen
        seen.add(code_hash(root))
