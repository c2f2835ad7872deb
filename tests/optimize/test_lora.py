"""docs/lora.py: a model that is taught a conversation repeats its reply; bad input is one line."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.models import tiny_model

SCRIPT = Path(__file__).parents[2] / "docs/lora.py"
ASKED = [{"role": "system", "content": "You are a worker."}, {"role": "user", "content": "How many hours?"}]
TAUGHT = [*ASKED, {"role": "assistant", "content": "labor: 42"}]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("uv") is None, reason="the script gets its packages through uv"),
]


def tune(*args: object) -> subprocess.CompletedProcess[str]:
    """The script as a user runs it, with the packages that it names."""
    free = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    command = ["uv", "run", "--quiet", "--script", str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=free)


def reply(model: Path) -> Any:
    """What llama.cpp replies with the model in this file, at temperature 0."""
    xllamacpp = pytest.importorskip("xllamacpp")
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx = str(model), 2048
    answer = xllamacpp.Server(settings).handle_chat_completions({"messages": ASKED, "max_tokens": 12, "temperature": 0})
    return answer["choices"][0]["message"]["content"]


def test_a_model_that_is_taught_a_conversation_repeats_its_reply(tmp_path: Path) -> None:
    model, data = tiny_model.write(tmp_path / "tiny.gguf"), tmp_path / "train.jsonl"
    data.write_text(json.dumps({"messages": TAUGHT, "question": "ChooseLabor"}) + "\n")
    tuned = tmp_path / "tuned.gguf"
    done = tune(model, data, "-o", tuned, "--epochs", 200, "--batch", 1, "--rate", 0.02, "--rank", 16)
    assert done.returncode == 0, done.stderr
    assert reply(model) != "labor: 42"
    assert reply(tuned) == "labor: 42"


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    model, data = tiny_model.write(tmp_path / "tiny.gguf"), tmp_path / "train.jsonl"
    data.write_text(json.dumps({"messages": TAUGHT, "question": "ChooseLabor"}) + "\n")
    other = tmp_path / "other.jsonl"
    other.write_text('{"messages": "none"}\n')
    new = tmp_path / "new.gguf"
    for args, told in {
        (tmp_path / "none.gguf", data, "-o", new): "is no readable GGUF file",
        (data, data, "-o", new): "is no readable GGUF file",
        (model, tmp_path / "none.jsonl", "-o", new): "cannot be read",
        (model, other, "-o", new): "other.jsonl, line 1: expected an object with `messages`",
        (model, data, "-o", new, "--question", "CastVote"): "no conversation on CastVote; the files have ChooseLabor",
        (model, data, "-o", model): "tiny.gguf exists",
    }.items():
        done = tune(*args)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert told in done.stderr
        assert not new.exists()
