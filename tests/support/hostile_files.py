"""Files that somebody hostile, or a bad disk, could hand over: exports, databases, programs, TOML, and what is no file.

Each entry is a name and a function that makes the file at a path, given a good one to start from.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb

DEEP = 200_000
"""Brackets, one in another: far beyond what Python's parsers follow."""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # a long path does not fit into a socket's address: tests are in the folder


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES: Mapping[str, Callable[[Path], None]] = {
    "a pipe": _pipe,
    "a socket": _socket,
    "an endless device": _device,
    "a folder": Path.mkdir,
}
"""What a path may name that is no file: none may be waited for, or read to an end that never comes."""


def endless(path: Path) -> None:
    """A file of 8 GB that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(8 * 2**30)


TOML: Mapping[str, bytes] = {
    "brackets": b"elasticity = " + b"[" * DEEP + b"]" * DEEP,
    "tables in a line": b"a = " + b"{a = " * 5_000 + b"1" + b"}" * 5_000,
    "a key of many parts": b"a" + b".a" * 100_000 + b" = 1",
    "a table of many parts": b"[a" + b".a" * 100_000 + b"]",
    "a number of 5,000 digits": b"seed = " + b"9" * 5_000,
    "a number of 5,000 hexadecimal digits": b"seed = 0x" + b"f" * 5_000,
    "a NUL byte": b"name = 'a\0b'",
    "an escaped NUL": b'name = "a\\u0000b"',
    "an escaped NUL in a path": b'db = "a\\u0000b"',
    "bytes that are no text": b"name = '\xff\xfe'",
    "half a character": b'name = "\\ud800"',
    "infinity": b"timeout = inf",
    "a table for a number": b"[seed]\na = 1",
    "a list of tables for a text": b"[[name]]\na = 1",
    "a date": b"seed = 1979-05-27",
    "too long": b"# " + b"a" * 2**21,
}
"""Run files that are none."""

PRICES: Mapping[str, bytes] = {
    **{name: text for name, text in TOML.items() if not name.startswith(("infinity", "a date", "a list", "a table f"))},
    "a price of 400 digits": b"[models.rules]\ninput = 0x" + b"f" * 400 + b"\noutput = 1",
    "a price that is not a number": b"[models.rules]\ninput = nan\noutput = 1",
    "models as a list": b"models = [1]",
    "a model as a number": b"models = {rules = 1}",
}
"""Price lists that are none."""

PROGRAMS: Mapping[str, bytes] = {
    "brackets": b"[" * DEEP,
    "objects": b'{"a":' * DEEP,
    "brackets where the predictors are": b'{"format": "llm-economist program 2", "predictors": ' + b"[" * DEEP,
    "a number of 5,000 digits": b"9" * 5_000,
    "a number": b"1",
    "not a number": b"NaN",
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "a NUL byte": b'{"format": "\\u0000"}',
    "half a character": b'{"format": "\\ud800"}',
    "nothing": b"",
    "too long": b'"' + b"a" * (17 * 2**20) + b'"',
    "kinds that do not fit": b'{"format": ["llm-economist program 2"], "role": {}, "predictors": 3}',
}
"""Program files that are none."""

Change = Callable[[dict[str, Any]], Any]


def _run(**values: Any) -> Change:
    """A manifest whose first run has other values."""
    return lambda manifest: {**manifest, "runs": [{**manifest["runs"][0], **values}, *manifest["runs"][1:]]}


def _with(**values: Any) -> Change:
    return lambda manifest: {**manifest, **values}


def _file(name: str, **values: Any) -> Change:
    return lambda manifest: {**manifest, "files": {**manifest["files"], name: values}}


def _without(name: str) -> Change:
    return lambda manifest: {**manifest, "files": {k: v for k, v in manifest["files"].items() if k != name}}


MANIFESTS: Mapping[str, Change | bytes] = {
    "brackets": b"[" * DEEP,
    "objects": b'{"files": ' * DEEP,
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "a number of 5,000 digits": b'{"format_version": ' + b"9" * 5_000 + b"}",
    "a list": _with(runs={}, files=[]),
    "format_version of another kind": _with(format_version=[1]),
    "schema_version true": _with(schema_version=True),
    "schema_version below zero": _with(schema_version=-1),
    "a run that is no object": _with(runs=[1]),
    "a number of a run that is a text": _run(run_id="1"),
    "a number of a run that is true": _run(run_id=True),
    "a number of a run below zero": _run(run_id=-1),
    "a number of a run of 70 bits": _run(run_id=2**70),
    "a name that is a list": _run(name=["a"]),
    "a name that is an object": _run(name={"a": 1}),
    "settings that are an object": _run(config={}),
    "a time that is a number": _run(created_at=3),
    "a parent that is a text": _run(parent_run_id="1; DROP TABLE runs"),
    "a run twice": lambda manifest: {**manifest, "runs": manifest["runs"] * 2},
    "a run without files": lambda m: {**m, "runs": [*m["runs"], {**m["runs"][0], "run_id": 77}]},
    "a run of another name": _run(name="another"),
    "a run without its row": _without("runs/run_id=1/data.parquet"),
    "a file of a run that is not listed": _file("years/run_id=9/data.parquet", bytes=1, sha256="", rows=1),
    "a file elsewhere": _file("../../etc/passwd", bytes=1, sha256="", rows=1),
    "a file that is a number": _with(files={"runs/run_id=1/data.parquet": 3}),
    "a size that is a text": _file("runs/run_id=1/data.parquet", bytes="9", sha256="", rows=1),
    "a checksum that is a list": _file("runs/run_id=1/data.parquet", bytes=900, sha256=[], rows=1),
    "a size of a thousand terabytes": _file("runs/run_id=1/data.parquet", bytes=10**15, sha256="", rows=1),
}
"""Manifests of which nothing may be believed."""


def with_manifest(folder: Path, change: Change | bytes) -> None:
    file = folder / "manifest.json"
    file.write_bytes(
        change if isinstance(change, bytes) else json.dumps(change(json.loads(file.read_bytes()))).encode()
    )


def _out_of_the_folder(folder: Path) -> None:
    elsewhere = folder.absolute().parent / "elsewhere.parquet"
    shutil.move(folder / "runs/run_id=1/data.parquet", elsewhere)
    (folder / "runs/run_id=1/data.parquet").symlink_to(elsewhere)


def _folder_out_of_the_folder(folder: Path) -> None:
    elsewhere = folder.absolute().parent / "elsewhere"
    shutil.move(folder / "runs", elsewhere)
    (folder / "runs").symlink_to(elsewhere)


def _manifest_out_of_the_folder(folder: Path) -> None:
    elsewhere = folder.absolute().parent / "elsewhere.json"
    shutil.move(folder / "manifest.json", elsewhere)
    (folder / "manifest.json").symlink_to(elsewhere)


def _in_the_place_of(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """An export in which `name` is something that is no file."""

    def harm(folder: Path) -> None:
        (folder / name).unlink()
        here = Path.cwd()
        os.chdir((folder / name).parent)
        try:
            make((folder.parent / folder / name) if folder.is_absolute() else here / folder / name)
        finally:
            os.chdir(here)

    return harm


A_TABLE = "runs/run_id=1/data.parquet"
EXPORTS: Mapping[str, Callable[[Path], None]] = {
    "a link out of the folder": _out_of_the_folder,
    "a folder that is a link out of it": _folder_out_of_the_folder,
    "a manifest that is a link out of it": _manifest_out_of_the_folder,
    **{f"{what} for a table": _in_the_place_of(A_TABLE, make) for what, make in NO_FILES.items()},
    **{f"{what} for the manifest": _in_the_place_of("manifest.json", make) for what, make in NO_FILES.items()},
    "8 GB for a table": _in_the_place_of(A_TABLE, endless),
    "8 GB for the manifest": _in_the_place_of("manifest.json", endless),
}
"""Folders that look like exports."""

BAD_CONFIGS: Mapping[str, str | None] = {
    "NULL": None,
    "a number": "3",
    "a list": "[]",
    "brackets": '{"seed": ' + "[" * 5_000 + "]" * 5_000 + "}",
    "years below zero": '{"max_timesteps": -5}',
    "a number of 70 bits": json.dumps({"seed": 2**70}),
    "workers that are a text": '{"num_agents": "many"}',
    "roles that are a list": '{"strategy": [["worker", "io"]]}',
    "a name with a NUL": '{"name": "a\\u0000b"}',
    "a welfare function that does not exist": '{"welfare": "mine"}',
}
"""Settings of a stored run that nobody can play."""


def with_config(db: Path, config: str | None) -> None:
    with duckdb.connect(str(db)) as connection:
        connection.execute("UPDATE runs SET config = ?", [config])


STATEMENTS: Mapping[str, str] = {
    "rates NULL": "UPDATE years SET rates = NULL",
    "rates without an entry": "UPDATE years SET rates = []",
    "rates with NULL": "UPDATE years SET rates = [NULL, NULL, NULL]",
    "thresholds that fall": "UPDATE years SET thresholds = [9, 5, 1]",
    "years without a number": "ALTER TABLE years RENAME TO y; CREATE TABLE years AS FROM y; DROP TABLE y; "
    "UPDATE years SET year = NULL",
    "a year that is missing": "DELETE FROM years WHERE year = 1",
    "no decisions": "DELETE FROM decisions",
    "decisions twice": "INSERT INTO decisions FROM decisions",
    "labor NULL": "UPDATE decisions SET labor = NULL",
    "agents without a wage": "UPDATE agents SET wage = NULL",
    "a wage that is not a number": "UPDATE agents SET wage = 'nan'",
    "agents of a kind that does not exist": "UPDATE agents SET utility_type = 'mine'",
    "half of the agents": "DELETE FROM agents WHERE agent > 0",
    "answers that are no JSON object": "UPDATE lm_calls SET parsed = '[[1]]'",
    "a model that is NULL": "UPDATE runs SET llm = NULL, config = json_merge_patch(config, '{\"llm\": null}')",
    "a fork of nobody": "UPDATE runs SET parent_run_id = 99, fork_year = 1",
    "a fork of itself": "UPDATE runs SET parent_run_id = 1, fork_year = 9",
    "a time without end": "UPDATE runs SET created_at = 'infinity'",
    "a column of another kind": "ALTER TABLE runs ALTER config TYPE INTEGER USING 1",
    "a table that is missing": "DROP TABLE lm_calls",
    "a state that is no object": "INSERT INTO programs(run_id, role, state) VALUES (1, 'worker', '3')",
    "a version that is no number": "UPDATE meta SET value = '²' WHERE key = 'schema_version'",
    "two rows for a run": "ALTER TABLE runs RENAME TO r; CREATE TABLE runs AS FROM r; DROP TABLE r; "
    "INSERT INTO runs FROM runs",
}
"""What may be in a database whose every page is whole."""


def with_statement(db: Path, statement: str) -> None:
    with duckdb.connect(str(db)) as connection:
        connection.execute(statement)


def damaged(db: Path, start: float, length: int = 4096) -> None:
    """Turn over bytes from a place on: `start` is a share of the file."""
    content = bytearray(db.read_bytes())
    first = int(start * (len(content) - 1))
    for place in range(first, min(first + length, len(content))):
        content[place] ^= 0xFF
    db.write_bytes(content)
