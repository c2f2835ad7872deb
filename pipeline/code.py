"""Which code a run was made by: the program's version, and a hash of the files that decide what comes of a run."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path


@cache
def code_version() -> str:
    """The program's version and a hash of the code that decides what comes of a run, e.g. `2.0.0+5f1c09ab`.

    A checkout changes without its version: runs may only be taken for one another where this is the same.
    """
    return f"{version('llm-economist')}+{code_hash(Path(__file__).parent.parent)}"


def code_hash(root: Path) -> str:
    """A hash of the modules and data in `root` that decide what comes of a run: 8 hexadecimal digits."""
    digest = blake2b(digest_size=4)
    for package in ("signatures", "programs", "pipeline"):
        for file in sorted((root / package).rglob("*")):
            if file.suffix in (".py", ".csv"):
                digest.update(f"{file.relative_to(root).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()
