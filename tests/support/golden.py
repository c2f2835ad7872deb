"""Texts on file: tests/golden has what prompts say, and `UPDATE_GOLDEN=1` writes it."""

import os
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"

REGENERATE = "UPDATE_GOLDEN=1 uv run pytest tests/prompts/test_golden.py tests/prompts/test_layouts.py"


def compare(name: str, text: str) -> None:
    """Fail unless tests/golden/`name` holds exactly `text`; write it if asked to."""
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    found = file.read_text(encoding="utf-8") if file.exists() else ""
    assert text + "\n" == found, f"tests/golden/{name} is not what the model sees; if this is meant: {REGENERATE}"
