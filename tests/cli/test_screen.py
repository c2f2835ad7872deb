"""No text of a model, a file or a server can control a terminal; checked in a pseudo-terminal."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from support.command_line import CommandLine
from support.hostile import HOSTILE

from evals.output import formats
from evals.output.console import Console
from evals.watch import _table, line
from pipeline.simulation.lifecycle import _Legible
from pipeline.store.query import ask
from pipeline.terminal import _Screen
from programs.visible import CONTROL

DB = "a.duckdb"
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202eeman\x7f"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202eeman\x7f"
RICH = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[\d*[AK]|\r(?=\n|\x1b\[|$)")
"""What Rich writes: colours, the cursor of a progress bar; and the line ends of a terminal."""
TEXTS = {name: text[:2000].encode(errors="replace").decode() for name, text in HOSTILE.items()} | {"all": EVIL}


def on_a_terminal(*args: str) -> tuple[int, str]:
    """Exit code and all that a command writes to a terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "PYTHONUTF8": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "evals", *args], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    said = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not chunk:
            break
        said += chunk
    os.close(master)
    return process.wait(), said.decode()


def is_harmless(said: str) -> bool:
    return not CONTROL.search(RICH.sub("", said))


@pytest.fixture
def evil(cli: CommandLine) -> None:
    """A database whose run, persona and error speak to the terminal, and a column that does."""
    small = ("--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "1", "--llm", "rules")
    assert cli("run", *small, "--db", DB).code == 0
    with duckdb.connect(DB) as connection:
        connection.execute("UPDATE runs SET name = $name, llm = $name", {"name": EVIL})


@pytest.mark.slow
@pytest.mark.usefixtures("evil")
def test_a_terminal_shows_control_characters_by_their_numbers() -> None:
    runs = f'SELECT name, 1 AS "{EVIL}" FROM runs'
    for code, args in (
        (0, ("runs", "--db", DB)),
        (0, ("sql", runs, "--db", DB, "--format", "csv")),
        (0, ("sql", runs, "--db", DB)),
        (2, ("sql", "SELECT name::INTEGER FROM runs", "--db", DB)),
    ):
        done, said = on_a_terminal(*args)
        assert done == code, said
        assert is_harmless(said), args
        assert r"\x1b]0;" in said, args
    done, said = on_a_terminal("sql", runs, "--db", DB, "--json")
    assert done == 0
    assert is_harmless(said)
    assert json.loads(said[said.index("[") :]) == [{"name": EVIL, EVIL: 1}], "after a note on a slow query"


@pytest.mark.slow
@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize(
    "args",
    [
        ("sql", "FROM runs", "--format", "markdown"),
        ("resume", "1"),
        ("replay", "1"),
        ("elections", "1"),
        ("fork", "1", "--at", "1"),
        ("watch", "--once"),
        ("show", "1"),
        ("run", f"--{EVIL}"),
        ("run", "--scenario", EVIL),
        ("eval", "1"),
        (EVIL,),
    ],
)
def test_no_command_drives_the_terminal(args: tuple[str, ...]) -> None:
    said = on_a_terminal(*args, *(() if "--" in args[0] or args[0] == EVIL else ("--db", DB)))[1]
    assert is_harmless(said), said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.usefixtures("evil")
def test_a_pipe_gets_the_data_as_they_are() -> None:
    args = [sys.executable, "-m", "evals", "sql", "SELECT name FROM runs", "--db", DB, "--format", "csv"]
    done = subprocess.run(args, capture_output=True, check=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert done.stdout.decode() == f'name\n"{EVIL}"\n'


def shown(what: object, **how: object) -> str:
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=300, **how).print(what)
    return out.getvalue()


@pytest.mark.first_cases(34)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_console_shows_any_text_in_any_place(text: str) -> None:
    table = Table("a", title=Text(text))
    table.add_column(Text(text))
    table.add_row(Text(text), text.replace("[", "("))
    for what in (Text(text), table, Panel(Text(text), title=Text(text)), Text(text, style="bold red")):
        assert is_harmless(shown(what))
    assert is_harmless(shown(text, markup=False))
    with Live(Text(text), console=Console(file=(out := io.StringIO()), force_terminal=True)) as live:
        live.update(Text(text), refresh=True)
    assert is_harmless(out.getvalue())
    state = {"run_id": 1, "name": f"{text}[/b][bold]", "path": "a"}
    assert is_harmless(shown(_table([state])))
    assert is_harmless(shown(line(state), markup=False))


@given(st.text())
def test_what_anything_else_writes_to_a_terminal_is_harmless_and_the_rest_is_kept(text: str) -> None:
    out = io.BytesIO()
    screen = _Screen(out, encoding="utf-8", errors="backslashreplace", newline="")
    print(text, file=screen, end="")
    screen.writelines([text])
    screen.rich_proxied_file.write("\x1b[1m")
    screen.flush()
    said = out.getvalue().decode()
    assert said.endswith("\x1b[1m")
    assert not CONTROL.search(said.removesuffix("\x1b[1m"))
    if not CONTROL.search(text) and not re.search("[\ud800-\udfff]", text):
        assert said == f"{text}{text}\x1b[1m"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_log_is_harmless(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    assert not CONTROL.search(_Legible("%(message)s").format(record))


def test_columns_of_any_name_are_harmless_in_tables() -> None:
    duckdb.connect(DB).close()
    with ask(DB, f"SELECT 1 AS \"{EVIL}\", {{'{EVIL}': 1}} AS x") as answer:
        for form in ("table", "markdown"):
            out = io.StringIO()
            formats.FORMATS[form](answer, out)
            assert not CONTROL.search(out.getvalue())
            assert out.getvalue().replace("\\\\", "\\").count(SHOWN) == 2


FOLDERS = ("signatures", "programs", "pipeline", "evals")
ALLOWED = {
    ("evals/output/console.py", "rich.console.Console"),
    ("pipeline/terminal.py", "sys.__stdout__"),
    ("pipeline/terminal.py", "sys.__stderr__"),
    ("pipeline/store/query_worker.py", "sys.stdout.buffer"),  # rows for the parent process
}
ROUND = ("sys.__stdout__", "sys.__stderr__", "sys.stdout.buffer", "sys.stderr.buffer", "os.write", "rich_proxied_file")
"""Ways round what cleans terminal output; `print` and `typer.echo` go through it."""


def ways_round(tree: ast.AST) -> set[str]:
    """Names in a module with which it would write to a terminal past evals/output/console.py and
    pipeline/terminal.py."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console"):
            found |= {f"{node.module}.{one.name}" for one in node.names if one.name in ("Console", "print", "console")}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names if one.name.split(".")[0] == "rich"}
        elif isinstance(node, ast.ImportFrom) and node.module == "logging":
            found |= {f"logging.{one.name}" for one in node.names if one.name == "StreamHandler"}
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in (*ROUND, "logging.StreamHandler"):
            found.add(ast.unparse(node))
    return found


@pytest.mark.slow
def test_no_module_writes_to_a_terminal_by_itself() -> None:
    root = Path(__file__).parents[2]
    found = {
        (file.relative_to(root).as_posix(), way)
        for folder in FOLDERS
        for file in (root / folder).rglob("*.py")
        for way in ways_round(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED, "use evals.output.console.Console, print or typer.echo"


@pytest.mark.parametrize(
    "code",
    [
        "from rich.console import Console",
        "from rich import print",
        "import rich",
        "import sys\nsys.stdout.buffer.write(b'x')",
        "import os\nos.write(1, b'x')",
        "import logging\nlogging.StreamHandler()",
    ],
)
def test_the_check_finds_a_module_that_writes_to_a_terminal(code: str) -> None:
    assert ways_round(ast.parse(code))
