"""Read the manifest of an export and verify its runs, files and checksums, because a stranger may have written it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import StoreError, UsageError
from pipeline.store.schema import SCHEMA_VERSION
from programs.text_files import read_json
from programs.user_files import LARGEST_MANIFEST, LARGEST_TABLE, open_file

FORMAT = "llm-economist export"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"

FILE_NAME = re.compile(r"(\w+)/(?:run_id=(\d+)/)?data\.parquet", re.ASCII)
"""Names of the files of an export: one per table and run, and one per table for rows that belong to no run."""

MAGIC = b"PAR1"
"""The first and the last bytes of a Parquet file."""

PIECE = 2**20
MOST_NUMBER = 2**31 - 1
"""The highest number of a run."""


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


RUN_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "run_id": _whole(1, MOST_NUMBER),
    "parent_run_id": _or_none(_whole(1, MOST_NUMBER)),
    "created_at": _text,
    "name": _or_none(_text),
    "status": _or_none(_text),
    "config": _or_none(_text),
}
"""The manifest's keys for each run, with checks of their values."""

FILE_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "bytes": _whole(1, LARGEST_TABLE),
    "sha256": _text,
    "rows": _whole(1, 2**63 - 1),
}
"""The same for each file."""


def read_manifest(path: str) -> dict[str, Any]:
    """The manifest of an export, after all files have been verified. StoreError names the first damaged file."""
    folder = Path(path)
    try:
        manifest = read_json(folder / MANIFEST, most=LARGEST_MANIFEST, inside=folder)
    except FileNotFoundError:
        raise UsageError(f"{path} has no {MANIFEST}: it was not made by `llm-economist export`") from None
    except OSError as error:
        raise StoreError(f"{path}/{MANIFEST} cannot be read ({error.strerror}); export again") from error
    except ValueError as error:
        raise StoreError(f"{path}/{MANIFEST} is damaged ({error}); export again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise StoreError(f"{path}/{MANIFEST} is not a manifest of `llm-economist export`")
    for what, known in (("format_version", FORMAT_VERSION), ("schema_version", SCHEMA_VERSION)):
        if not _whole(1, known)(manifest.get(what)):
            found = repr(manifest.get(what))[:40]
            raise StoreError(f"{path} has {what} {found}, but this program supports {known}: upgrade llm-economist")
    flaw = _flaw(manifest.get("runs"), manifest.get("files"))
    if flaw is not None:
        raise StoreError(f"{path}/{MANIFEST} is damaged ({flaw}); export again")
    for name, file in manifest["files"].items():
        _verify(folder, name, file)
    return manifest


def _flaw(runs: Any, files: Any) -> str | None:
    """What is wrong with the lists of runs and files, in a few words, or None."""
    if not isinstance(runs, list) or not isinstance(files, dict):
        return "it has no lists of runs and files"
    if (flaw := flaw_of_runs(runs)) is not None:
        return flaw
    listed = {str(run["run_id"]) for run in runs}
    for name, file in files.items():
        found = FILE_NAME.fullmatch(name)
        if found is None:
            return f"it names an unexpected file: {name[:80]!r}"
        if found[2] is not None and found[2] not in listed:
            return f"it has a file for run {found[2][:20]}, which it does not list"
        if not isinstance(file, dict) or not all(fits(file.get(key)) for key, fits in FILE_KEYS.items()):
            return f"its entry for {name} is invalid"
    for number in listed:
        if f"runs/run_id={number}/data.parquet" not in files:
            return f"it lists run {number} but has no file for it"
    return None


def flaw_of_runs(runs: list[Any]) -> str | None:
    """What is wrong with a list of runs, in a few words, or None."""
    seen: set[int] = set()
    for run in runs:
        if not isinstance(run, dict):
            return "a run in it is not an object"
        for key, fits in RUN_KEYS.items():
            if key not in run or not fits(run[key]):
                return f"a run in it has an invalid {key}: {repr(run.get(key))[:40]}"
        if run["run_id"] in seen:
            return f"it lists run {run['run_id']} twice"
        seen.add(run["run_id"])
    return None


def _verify(folder: Path, name: str, expected: Mapping[str, Any]) -> None:
    """StoreError unless a file in the folder is a Parquet file with the `expected` size and checksum."""
    try:
        with open_file(folder / name, most=LARGEST_TABLE, inside=folder) as file:
            same = _digest(file, expected["bytes"]) == expected["sha256"]
    except OSError as error:
        raise StoreError(f"{folder / name} cannot be read ({error.strerror}); export again") from error
    if not same:
        raise StoreError(f"{folder / name} is damaged: its checksum differs from the manifest's; export again")


def _digest(file: BinaryIO, size: int) -> str | None:
    """The SHA-256 of a Parquet file of `size` bytes, or None if the size or the format differs.

    It reads at most `size` bytes, even if the file grows meanwhile.
    """
    if file.seek(0, 2) != size or size < 2 * len(MAGIC):
        return None
    file.seek(-len(MAGIC), 2)
    if file.read(len(MAGIC)) != MAGIC:
        return None
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        return None
    file.seek(0)
    digest, left = hashlib.sha256(), size
    while left and (piece := file.read(min(PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()
