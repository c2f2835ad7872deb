"""What the documents say is so: their commands run, their files exist, every command and flag is there."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from evals.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FINDINGS = sorted((ROOT / "docs/findings").glob("*.md"))
SMALL = ("--seeds", "1-2", "--num-agents", "4", "--archetypes", "2", "--max-timesteps", "4", "--two-timescale", "2")
"""What the commands of a finding are run with here, in place of the size that its figures come from."""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page):
    """Arguments of each `uv run llm-economist` in bash blocks; quoted text may go over lines."""
    found, pending = [], ""
    for line in "\n".join(blocks(page, "bash")).splitlines():
        pending += line + "\n"
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quote is still open
            continue
        pending = ""
        if words[:3] == ["uv", "run", "llm-economist"]:
            found.append(words[3:])
    assert not pending
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_order_in_one_folder(cli, page):
    for code in blocks(page, "python"):
        if name := re.search(r"`(\w+\.py)`:\n\n```python\n" + re.escape(code), page.read_text()):
            Path(name[1]).write_text(code)
    for name, text in re.findall(r"`(\w+\.toml)`:\n\n```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        Path(name).write_text(text)
    for words in commands(page):
        result = cli(*words)
        assert result.code == 0, (words, result.err)


@pytest.mark.parametrize("page", FINDINGS, ids=lambda page: page.name)
def test_the_commands_of_a_finding_run_at_small_size(cli, page):
    assert commands(page)
    for words in commands(page):
        result = cli(*words, *SMALL)
        assert result.code == 0, (words, result.err)


def test_the_readme_shows_every_command():
    text = (ROOT / "README.md").read_text()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"llm-economist {name}" in text, name


def test_the_readme_has_one_line_for_every_module():
    text = (ROOT / "README.md").read_text()
    for package in ("signatures", "programs", "pipeline", "evals"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "__init__.py":
                assert re.search(rf"\b{path.name}\b", text), path


def test_files_named_in_the_documents_exist():
    for page in (*PAGES, *FINDINGS):
        for name in re.findall(r"`((?:signatures|programs|pipeline|evals|tests|docs)/[\w/.]+\.\w+)`", page.read_text()):
            assert (ROOT / name).exists(), (page.name, name)


def test_every_flag_of_the_older_program_is_here_and_in_the_table():
    old = (
        "scenario num-agents max-timesteps two-timescale history-len llm prompt-algo worker-type planner-type "
        "percent-ego percent-alt percent-adv agent-mix bracket-setting platforms warmup elasticity seed name log-dir "
        "timeout use-multithreading wandb debug"
    )
    text = (ROOT / "README.md").read_text()
    from pipeline.config import RunConfig

    for flag in old.split():
        assert hasattr(RunConfig(), flag.replace("-", "_"))
        assert f"--{flag}" in text, flag


def test_links_between_pages_lead_somewhere():
    for page in (*PAGES, *FINDINGS):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), (page.name, target)


def test_all_51_defects_of_v1_are_listed_in_order_with_tests_that_exist():
    text = (ROOT / "docs/v1.md").read_text()
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(range(1, 52))
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", text)
    assert len(named) >= 50
    for path, name in named:
        defined = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert name in defined, (path, name)
