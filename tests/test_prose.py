"""The words that a reader meets: pages, help and docstrings are plain English."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from evals.cli.main import app

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CODE = [path for package in ("signatures", "programs", "pipeline", "evals") for path in (ROOT / package).rglob("*.py")]
VOCABULARY = tomllib.loads((TESTS / "vocabulary.toml").read_text("utf-8"))
AVOIDED = re.compile("|".join(rf"(?P<w{n}>\b(?:{words})\b)" for n, words in enumerate(VOCABULARY)), re.IGNORECASE)

UNTYPESET = re.compile(r": (?:typography|dates_times)\.")
"""What the linter says of typographic quotes, dashes and accents, for which plain text has no keys."""


def prose(text: str) -> str:
    """A page without code, comments and addresses, its lines in their places."""
    for pattern in (r"^```.*?^```$", r"<!--.*?-->"):
        text = re.sub(pattern, lambda found: "\n" * found[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^#.*$", r"\g<0>.", text, flags=re.MULTILINE)
    counted = iter(range(text.count("`")))
    text = re.sub(r"`[^`\n]*`", lambda _: f"CODE{next(counted)}", text)  # numbered: no word is said twice
    return re.sub(r"\]\([^)\n]*\)", "]", text)


def avoided(where: str, text: str) -> list[str]:
    """Each phrase of the vocabulary in `text`, with its place and what to write instead."""
    lines = []
    for found in AVOIDED.finditer(text):
        instead = list(VOCABULARY.values())[int(str(found.lastgroup)[1:])]
        lines.append(f"{where}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]!r}; write: {instead}")
    return lines


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def test_a_linter_of_prose_finds_nothing_in_the_pages(tmp_path: Path) -> None:
    for page in PAGES:
        (tmp_path / str(page.relative_to(ROOT)).replace("/", "-")).write_text(prose(page.read_text("utf-8")), "utf-8")
    command = [sys.executable, "-m", "proselint", "--output-format", "compact", "check", tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False).stdout
    assert "README" in found or not found, found
    assert not [line for line in found.splitlines() if line.strip() and not UNTYPESET.search(line)], found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_word_to_stumble_over(page: Path) -> None:
    assert not avoided(page.name, prose(page.read_text("utf-8")))


def test_no_docstring_has_a_word_to_stumble_over() -> None:
    assert not [line for path in CODE for text in docstrings(path) for line in avoided(path.name, text)]


def test_no_help_has_a_word_to_stumble_over() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    texts = {
        name: [command.help or "", *(getattr(one, "help", "") or "" for one in command.params)]
        for name, command in commands.items()
    }
    assert not [line for name, each in texts.items() for text in each for line in avoided(name, text)]
