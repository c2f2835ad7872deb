"""The documentation is correct: its commands run, its files exist, and every command and flag is in it."""

import ast
import os
import re
import shlex
from pathlib import Path

import pytest
from support.otlp_receiver import otlp_receiver
from support.pages import blocks
from typer.cli import get_docs_for_click
from typer.main import get_command
from typer.models import Context

from evals.cli.main import app
from pipeline.config import RunConfig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
FINDINGS = sorted((ROOT / "docs/findings").glob("*.md"))
SMALL = ("--seeds", "1-2", "--num-agents", "4", "--archetypes", "2", "--max-timesteps", "4", "--two-timescale", "2")
"""What the commands of a finding are run with here, in place of the size that its figures come from."""


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


@pytest.fixture
def receiver():
    with otlp_receiver() as one:
        yield one


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:(mlflow|alembic|trackio).*")
def test_the_commands_of_a_page_run_in_order_in_one_folder(cli, page, monkeypatch, tmp_path, request):
    if page.name == "telemetry.md":
        receiver = request.getfixturevalue("receiver")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for code in blocks(page, "python"):
        if name := re.search(r"`(\w+\.py)`:\n\n```python\n" + re.escape(code), page.read_text()):
            Path(name[1]).write_text(code)
    for name, text in re.findall(r"`(\w+\.toml)`:\n\n```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        Path(name).write_text(text)
    for words in commands(page):
        result = cli(*words)
        assert result.code == 0, (words, result.err)


@pytest.mark.slow
@pytest.mark.parametrize("page", FINDINGS, ids=lambda page: page.name)
def test_the_commands_of_a_finding_run_at_small_size(cli, page):
    assert commands(page)
    for words in commands(page):
        result = cli(*words, *SMALL)
        assert result.code == 0, (words, result.err)


def summary(path):
    """The first line of a module's docstring, as a cell of a Markdown table."""
    line = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    assert line, f"{path} says nothing about itself"
    return line.replace("|", "\\|")


def modules():
    """The list of modules: a table for each folder."""
    parts = []
    for package in ("signatures", "programs", "pipeline", "evals"):
        paths = [path for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__init__.py"]
        for folder in sorted({path.parent for path in paths}):
            rows = [f"| `{path.name}` | {summary(path)} |" for path in paths if path.parent == folder]
            parts.append("\n".join((f"**{folder.relative_to(ROOT)}/**\n", "| | |", "|---|---|", *rows)))
    return "\n\n".join(parts)


def command_line():
    """Every command with its flags, from the commands' own help."""
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=Context(command, info_name="llm-economist"), name="llm-economist")
    head = "# Command line\n\nMade from each command's own `--help`. For examples, see the [tour](tour.md)."
    return head + text.partition("\n")[2].rstrip() + "\n"


def written(path, text):
    """The text of a generated page; with UPDATE_DOCS it is written first."""
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(text)
    return path.read_text()


def test_the_page_of_the_command_line_is_what_the_commands_say():
    assert written(ROOT / "docs/cli.md", command_line()) == command_line()


@pytest.mark.slow
def test_the_list_of_modules_has_the_first_line_of_each():
    page = ROOT / "docs/architecture.md"
    start, end = "<!-- modules -->", "<!-- end of modules -->"
    before, _, rest = page.read_text().partition(start)
    made = f"{before}{start}\n\n{modules()}\n\n{end}{rest.partition(end)[2]}"
    assert written(page, made) == made


def test_the_tour_shows_every_command():
    text = (ROOT / "docs/tour.md").read_text()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"llm-economist {name}" in text, name


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
    text = (ROOT / "docs/v1.md").read_text()

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
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) >= 50
    for path, name in named:
        defined = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert name in defined, (path, name)
