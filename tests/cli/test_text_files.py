"""Text files of users and of the program are UTF-8 whatever the locale says; a setting given twice is an error."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from programs.text_files import decoded, each_once, read_text

ROOT = Path(__file__).parents[2]
SMALL = ("--num-agents", "2", "--max-timesteps", "1", "--llm", "rules")
TEXT_CALLS = {"read_text", "write_text", "open", "fdopen", "FileHandler", "NamedTemporaryFile"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
"""A machine whose locale knows no letter but the English ones."""


def in_ascii(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from evals.cli.main import main; main()", *args]
    done = subprocess.run(command, capture_output=True, input=stdin, env={**os.environ, **ASCII}, check=False)
    said = [part.decode("utf-8") for part in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(command, done.returncode, *said)


@pytest.mark.slow
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_files_with_other_letters_are_read_and_written_in_any_locale(cli: Any, mark: bytes) -> None:
    Path("study.toml").write_bytes(mark + 'num-agents = 2\nname = "Zürich 東京"\n'.encode())
    Path("prices.toml").write_bytes(mark + '[models."modèle"]\ninput = 1\noutput = 1\n'.encode())
    done = in_ascii("run", "--config", "study.toml", "--max-timesteps", "1", "--llm", "rules", "--db", "a.duckdb")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (log,) = Path("logs").iterdir()  # whose name has only letters that this locale knows
    assert "Zürich 東京" in log.read_text(encoding="utf-8")
    assert cli.sql("select name from runs", "a.duckdb") == [{"name": "Zürich 東京"}]
    assert in_ascii("export", "all", "--to", "out", "--db", "a.duckdb").returncode == 0
    assert "Zürich" in in_ascii("sql", "-", "--db", "a.duckdb", stdin="select 'Zürich' as ü".encode()).stdout
    assert in_ascii("sql", "runs", "--db", "a.duckdb").returncode in (0, 2)
    assert in_ascii("schema").returncode == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name = 'Zürich'".encode("latin-1"), "line 1 is not UTF-8 (byte 0xfc); save it as UTF-8"),
        ("seed = 1\n".encode("utf-16"), "UTF-16 or UTF-32; save it as UTF-8"),
        (b"seed\x00 = 1\n", "is not TOML"),
    ],
)
def test_a_run_file_in_another_encoding_is_refused_with_the_way_out(cli: Any, content: bytes, said: str) -> None:
    Path("study.toml").write_bytes(content)
    result = cli("run", "--config", "study.toml", *SMALL)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert said in result.err


def test_every_text_file_has_a_named_encoding() -> None:
    """Ruff's PLW1514 sees only what it knows the type of."""
    for package in ("signatures", "programs", "pipeline", "evals"):
        for path in (ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call):
                    assert not _in_the_locale(call), f"{path}:{call.lineno} names no encoding"


def _in_the_locale(call: ast.Call) -> bool:
    names = {keyword.arg for keyword in call.keywords}
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("run", "Popen", "check_output") and names & {"text", "universal_newlines"}:
        return "encoding" not in names
    if name not in TEXT_CALLS or "encoding" in names:
        return False
    if isinstance(call.func, ast.Name) and name == "read_text":
        return False  # programs/text_files.py's own
    if name in ("open", "fdopen", "NamedTemporaryFile"):
        binary = any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in call.args)
        ours = isinstance(call.func, ast.Attribute) and "lm" in names  # StudyCallbacks.open
        raw = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "os"
        return not binary and not ours and not raw
    return True


def test_a_text_is_read_as_it_was_written(tmp_path: Path) -> None:
    for text in ("", "plain", "Zürich", "東京\n\u2028", "\x00"):
        (tmp_path / "a.txt").write_bytes(text.encode())
        assert read_text(tmp_path / "a.txt", most=100) == text
        assert decoded(b"\xef\xbb\xbf" + text.encode()) == text


# -- a setting given twice ----------------------------------------------------------------------------------------

TWICE: dict[str, tuple[tuple[str, ...], str]] = {
    "a flag": (("run", *SMALL, "--seed", "1", "--seed", "2"), "--seed is given twice"),
    "a switch and its opposite": (
        ("run", *SMALL, "--platforms", "--no-platforms"),
        "--platforms or --no-platforms is given twice",
    ),
    "a flag that is no setting": (("run", *SMALL, "--latency", "1", "--latency", "2"), "--latency is given twice"),
    "two spellings in a file": (("run", "--config", "two.toml", *SMALL[2:]), "num-agents and num_agents are the same"),
    "a role": (("run", *SMALL, "--strategy", "worker=io, worker=cot"), "worker is given twice"),
    "a role of an arm": (("compare", "worker=io,worker=cot", "worker=io", *SMALL), "worker is given twice"),
    "a setting of an arm": (
        ("compare", "worker=io", "setting:two-timescale=2,setting:two_timescale=3", *SMALL),
        "two_timescale is given twice",
    ),
    "an arm in another order": (
        ("compare", "worker=io,planner=io", "planner=io,worker=io", *SMALL),
        "worker=io,planner=io and planner=io,worker=io are the same",
    ),
    "a difference": (
        ("compare", "worker=io", "worker=cot", "--detect", "0.5", "--detect", "welfare=1", *SMALL),
        "--detect: welfare is given twice",
    ),
    "a price": (("run", *SMALL, "--prices", "prices-two.toml"), "gpt-4o and openai/gpt-4o are the same"),
}


@pytest.mark.parametrize(("args", "said"), TWICE.values(), ids=TWICE)
def test_a_setting_given_twice_is_refused_in_one_line(cli: Any, args: tuple[str, ...], said: str) -> None:
    Path("two.toml").write_text("num-agents = 2\nnum_agents = 3\n", encoding="utf-8")
    entry = '[models."{}"]\ninput = {}\noutput = 1\n'
    two = entry.format("gpt-4o", 1) + entry.format("openai/gpt-4o", 2)
    Path("prices-two.toml").write_text(two, encoding="utf-8")
    result = cli.exactly(*args, "--db", "a.duckdb")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert said in result.err
    assert not Path("a.duckdb").exists()


def test_a_setting_given_once_in_the_file_and_once_as_a_flag_is_accepted(cli: Any) -> None:
    Path("study.toml").write_text("num-agents = 3\n", encoding="utf-8")
    args = ("--shock", "year=0: wages*0.9", "--shock", "year=0: wages*0.8")
    result = cli("run", "--config", "study.toml", "--max-timesteps", "1", "--llm", "rules", "--num-agents", "2", *args)
    assert result.code == 0, result.err
    assert each_once([("a", 1), ("b", 1)]) == {"a": 1, "b": 1}
