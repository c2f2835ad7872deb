"""Pages, help texts, messages, docstrings and comments are plain English."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from evals.cli.main import app

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
GENERATED = {"docs/cli.md", *(f"docs/cards/{path.name}" for path in (ROOT / "docs/cards").glob("*.md"))}
"""Pages that the program writes: their words are those of the help and of `validate`."""

PAGES = [
    page
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    if str(page.relative_to(ROOT)) not in GENERATED
]
CODE = [path for package in ("signatures", "programs", "pipeline", "evals") for path in (ROOT / package).rglob("*.py")]
HISTORY = {"CHANGELOG.md", "docs/LOG.md"}
"""Pages whose entries keep the words of their day."""

PROMPTS = {
    "signatures/interview.py",
    "programs/strategies/refine_prompt.py",
    "pipeline/simulation/elections/rules.py",
}
"""Modules with texts that a model reads, which change only together with tests/golden."""

VOCABULARY = tomllib.loads((TESTS / "vocabulary.toml").read_text("utf-8"))
AVOIDED = re.compile("|".join(rf"(?P<w{n}>\b(?:{words})\b)" for n, words in enumerate(VOCABULARY)), re.IGNORECASE)

UNTYPESET = re.compile(r": (?:typography|dates_times)\.")
"""Complaints of the linter about straight quotes, hyphens as dashes and missing accents, which plain text needs."""


def prose(text: str) -> str:
    """A page without code, generated lists, comments and link addresses; line numbers stay the same."""
    for pattern in (r"^```.*?^```$", r"<!-- modules -->.*?<!-- end of modules -->", r"<!--.*?-->"):
        text = re.sub(pattern, lambda found: "\n" * found[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^#.*$", r"\g<0>.", text, flags=re.MULTILINE)
    counted = iter(range(text.count("`")))
    # Each piece of code becomes a word of its own, so that the linter sees no repetition.
    text = re.sub(r"`[^`\n]*`", lambda _: f"CODE{next(counted)}X", text)
    return re.sub(r"\]\([^)\n]*\)", "]", text)


def avoided(where: str, text: str) -> list[str]:
    """Each phrase in `text` that the vocabulary rules out, with its line and what to write instead."""
    instead = list(VOCABULARY.values())
    lines = []
    for found in AVOIDED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        lines.append(f"{where}:{line}: {found[0]!r}; write: {instead[int(str(found.lastgroup)[1:])]}")
    return lines


def texts(path: Path) -> Iterator[str]:
    """Every docstring, message and comment of a module."""
    source = path.read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def test_proselint_reports_nothing_in_the_pages(tmp_path: Path) -> None:
    for page in PAGES:
        (tmp_path / str(page.relative_to(ROOT)).replace("/", "-")).write_text(prose(page.read_text("utf-8")), "utf-8")
    command = [sys.executable, "-m", "proselint", "--output-format", "compact", "check", tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False).stdout
    assert "README" in found or not found, found
    assert not [line for line in found.splitlines() if line.strip() and not UNTYPESET.search(line)], found


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if str(page.relative_to(ROOT)) not in HISTORY],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_has_no_phrase_that_the_vocabulary_rules_out(page: Path) -> None:
    assert not avoided(page.name, prose(page.read_text("utf-8")))


@pytest.mark.slow
def test_no_docstring_message_or_comment_has_a_phrase_that_the_vocabulary_rules_out() -> None:
    modules = [path for path in CODE if str(path.relative_to(ROOT)) not in PROMPTS]
    assert not [line for path in modules for text in texts(path) for line in avoided(path.name, prose(text))]


def test_no_name_of_a_test_has_a_phrase_that_the_vocabulary_rules_out() -> None:
    for path in sorted(TESTS.rglob("test_*.py")):
        names = re.findall(r"def (test_\w+)", path.read_text("utf-8"))
        assert not avoided(path.name, "\n".join(names).replace("_", " "))


def test_no_saved_query_has_a_phrase_that_the_vocabulary_rules_out() -> None:
    queries = sorted((ROOT / "evals/sql/queries").glob("*.sql"))
    assert queries
    assert not [line for path in queries for line in avoided(path.name, path.read_text("utf-8"))]


def test_no_help_text_has_a_phrase_that_the_vocabulary_rules_out() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    texts = {
        name: [command.help or "", *(getattr(one, "help", "") or "" for one in command.params)]
        for name, command in commands.items()
    }
    assert not [line for name, each in texts.items() for text in each for line in avoided(name, text)]
