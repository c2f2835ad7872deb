"""The dataset card of an export: tables with units, provenance, licence and checksums, without paths and keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath, PureWindowsPath
from platform import python_version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evals.datasets.run_commands import command_of
from evals.datasets.table_units import descriptions, unit_of
from evals.datasets.training_card import LICENCE, RUN_HEAD, run_cells, safe_cell, table
from evals.output.number_format import plain
from pipeline.store.columns import Reader
from programs.calls.model_names import GGUF_PREFIX, HUMAN, RULES, SMOLLM2, without_folder
from programs.engines.local_weights import SHA256, checksum
from programs.secrets import blotted
from programs.text_files import parse_json
from programs.visible import visible

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Rows of a dataset, as dataset hubs class them."""

STUDIES = "SELECT study, status, role, optimizer, metric, llm, seed, code_version FROM studies ORDER BY ALL"

ABOUT = """Simulated economies in which agents choose working hours and tax rates. Every question to an agent, every
reply and every outcome is a row. The economies can be solved, so that each decision has an exact regret: the dollars
a year that the best choice would have added."""

READING = """Any tool can read the files. The number of the run is the name of a folder, so read the tables with
hive partitioning, or import all into a database and replay the runs:

```
duckdb -c "select run_id, avg(welfare) from read_parquet('years/*/*.parquet', hive_partitioning = true) group by 1"
llm-economist import FOLDER --db study.duckdb
```

Money is in US dollars a year, labor in hours a week, rates in percent, times in UTC. Tables join on `run_id`, `year`
and `agent`, and `call_id` leads from a decision to the call that made it."""


def card(reader: Reader, folder: Path, manifest: Mapping[str, Any]) -> str:
    """The Markdown text, with the header that dataset hubs read. Equal exports give equal texts."""
    files = _by_table(manifest["files"])
    rows = reader.rows(
        "SELECT * FROM runs WHERE list_contains(?, run_id)", [[run["run_id"] for run in manifest["runs"]]]
    )
    rows.sort(key=lambda row: row["run_id"])
    commands = (f"# run {row['run_id']}\n{_safe(command_of(reader, row))}" for row in rows)
    parts = [
        _header(files),
        "# Tax economies",
        ABOUT,
        "## How to read it",
        READING,
        "## Tables",
        *(part for name in files for part in _table(folder, name, files[name])),
        "## Provenance",
        f"Exported by llm-economist {version('llm-economist')} (code {manifest['code_version']}, Python "
        f"{python_version()}, DSPy {version('dspy')}, DuckDB {version('duckdb')}) from these runs:",
        table(RUN_HEAD, map(run_cells, rows)),
        "Their commands. Settings that are not named have their defaults; files are named without their folders:",
        "```\n" + "\n".join(commands) + "\n```",
        *_studies(reader, files),
        "Models that answered:",
        table(["model", "what it is"], ([safe_cell(name), what] for name, what in _models(folder, files))),
        "## Licence",
        LICENCE,
        "## Checksums",
        table(["file", "rows", "bytes", "SHA-256"], map(_file_cells, *zip(*manifest["files"].items(), strict=True))),
    ]
    return "\n\n".join(parts) + "\n"


def _by_table(files: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The files of each table."""
    found: dict[str, dict[str, Any]] = {}
    for name, file in files.items():
        found.setdefault(name.partition("/")[0], {})[name] = file
    return found


def _header(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The YAML that dataset hubs read: licence, tags, size, and one configuration per table."""
    rows = sum(file["rows"] for table_files in files.values() for file in table_files.values())
    size = next((name for most, name in SIZES if rows < most), "n>1M")
    first = "decisions" if "decisions" in files else next(iter(files))
    lines = [
        *("---", "license: other", "license_name: see-licence-below", "pretty_name: Tax economies", "language: en"),
        *("tags:", "- tax-policy", "- economics", "- agents", "size_categories:", f"- {size}", "configs:"),
    ]
    for name in files:
        lines += [f"- config_name: {json.dumps(name)}", *(["  default: true"] if name == first else [])]
        lines += ["  data_files:", "  - split: train", f"    path: {json.dumps(f'{name}/**/*.parquet')}"]
    return "\n".join([*lines, "---"])


def _table(folder: Path, name: str, files: Mapping[str, Any]) -> Iterator[str]:
    """What a row of a table is, and its columns with types and units."""
    yield f"### `{name}`"
    yield f"{sum(file['rows'] for file in files.values()):,} rows. {descriptions().get(name, '')}".rstrip()
    schema = pq.read_schema(folder / next(iter(files)))
    yield table(["column", "type", "unit"], (_column_cells(name, one) for one in schema))


def _column_cells(table_name: str, column: pa.Field) -> list[str]:
    kind = str(column.type)
    if kind == "extension<arrow.json>":
        return [f"`{column.name}`", "json", ""]
    unit = None if kind in ("string", "bool") else unit_of(table_name, column.name)
    return [f"`{column.name}`", kind, unit or ""]


def _studies(reader: Reader, files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The studies of an export of everything."""
    if "studies" in files:
        rows = reader.rows(
            "SELECT study, status, role, optimizer, metric, llm, seed, code_version FROM studies ORDER BY ALL"
        )
        yield "Studies:"
        yield table(list(rows[0]), ([safe_cell(without_folder(plain(cell))) for cell in row.values()] for row in rows))


def _models(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The models of the exported calls by their public names, and what identifies them."""
    found: set[str] = set()
    for name in files.get("lm_calls", ()):
        column = pq.read_table(folder / name, columns=["model"], partitioning=None)["model"]
        found |= {model for model in column.unique().to_pylist() if model}
    for model in sorted(found):
        yield without_folder(model), _identity(model)


def _identity(model: str) -> str:
    if model == RULES:
        return "a rule in this program; the code's hash identifies it"
    if model == HUMAN:
        return "a person at the terminal"
    if model == SMOLLM2:
        return f"weights with SHA-256 `{SHA256}`"
    if not model.startswith(GGUF_PREFIX):
        return "hosted by its provider, who does not publish a checksum"
    try:
        return f"file of weights with SHA-256 `{checksum(model)}` at the time of this export"
    except ValueError:
        return "a file of weights that is not on this machine any more"


def _file_cells(name: str, file: Mapping[str, Any]) -> list[str]:
    return [f"`{name}`", f"{file['rows']:,}", f"{file['bytes']:,}", f"`{file['sha256']}`"]


def _safe(line: str) -> str:
    """A line of a code block without control characters and keys."""
    return visible(blotted(line))


def local_paths(manifest: Mapping[str, Any]) -> list[str]:
    """Paths of this machine in the settings that the exported tables hold, each once."""
    found: set[str] = set()
    for run in manifest["runs"]:
        try:
            found |= set(filter(_is_local, _texts(parse_json(run["config"] or "null"))))
        except ValueError:
            continue  # not written by a run; the card has refused it if it was asked for
    return sorted(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def _is_local(text: str) -> bool:
    """Whether text is an absolute path, of any system.

    >>> [_is_local(text) for text in ("/srv/ada/a.duckdb", "gguf:/m.gguf", "C:\\\\a.toml", "a.duckdb", "30/40/60")]
    [True, True, True, False, False]
    """
    path = text.removeprefix(GGUF_PREFIX)
    return path.startswith("~") or PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
