"""`export --format sft`, `preferences` or `grpo`: training data from stored traces, in chat format, with a card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO
from zlib import crc32

import numpy as np

from evals.datasets.from_traces import TraceDataset
from evals.datasets.simulated import SPLITS
from evals.datasets.stored_questions import OUTPUT, no_questions, stored_questions
from evals.datasets.training_card import card
from evals.datasets.training_rows import FORMATS
from pipeline.errors import UsageError
from pipeline.store.exchange.export import DESCRIPTION, check_new, chosen_runs, new_folder
from pipeline.store.reader import ReadOnlyStore, readable

Shares = tuple[float, float, float]
Counts = Counter[tuple[str, str]]
"""Rows by (split, question)."""


def export_training(
    db: str, runs: Sequence[str], to: str, *, format: str, shares: str, seed: int, explore: bool
) -> tuple[Counts, Mapping[str, int]]:
    """Write the questions of runs with their ancestors, or of `all` runs, to the new folder `to`: a JSONL file for
    each split, and README.md. Returns the rows by split and question, and the questions left out, by reason.

    Equal runs, `shares` (percent in train, dev and test) and `seed` give equal bytes. UsageError if there is
    nothing to write.
    """
    parts = shares_in(shares)
    check_new(to)
    skipped: Counter[str] = Counter()
    with readable(db) as path:
        with ReadOnlyStore(path) as reader:
            chosen = sorted(chosen_runs(reader, runs), key=lambda row: row["run_id"])
        with TraceDataset("ChooseLabor", path) as mine:
            economy = mine.economies([row["run_id"] for row in chosen])
        split = split_of(economy, parts, seed)
        with new_folder(to) as folder:
            counts = _write(path, folder, format, split, economy, explore=explore, skipped=skipped)
            if not counts:
                raise no_questions(" ".join(runs), skipped)
            text = card(format, chosen, counts, skipped, economies=split, shares=parts, seed=seed, explore=explore)
            (folder / DESCRIPTION).write_text(text, encoding="utf-8", newline="\n")
    return counts, skipped


def _write(
    db: str,
    folder: Path,
    format: str,
    split: Mapping[int, str],
    economy: Mapping[int, int],
    *,
    explore: bool,
    skipped: Counter[str],
) -> Counts:
    """Write the rows of each split; a split without economies has an empty file."""
    counts: Counts = Counter()
    with ExitStack() as files:
        out = {name: files.enter_context((folder / f"{name}.jsonl").open("w", encoding="ascii")) for name in SPLITS}
        for question in OUTPUT:
            for asked in stored_questions(db, sorted(economy), question, explore=explore, skipped=skipped):
                name = split[asked.example.economy_seed]
                written = _dump(FORMATS[format](asked), out[name])
                if written:
                    counts[name, question] += written
                else:
                    skipped["every reply was the best one, so that there is nothing to reject"] += 1
    return counts


def _dump(rows: Iterable[Mapping[str, Any]], out: TextIO) -> int:
    """Write rows as lines of JSON in ASCII, so that no character of a model ends a line; returns their number."""
    number = 0
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n")
        number += 1
    return number


def shares_in(text: str) -> Shares:
    """The percent of the economies in train, dev and test. UsageError unless they are three, from 0, and add to 100."""
    wrong = UsageError(f"--splits {text!r}: expected percent for {', '.join(SPLITS)} that add to 100, e.g. 80,10,10")
    try:
        train, dev, test = map(float, text.split(","))
    except ValueError:
        raise wrong from None
    if not (min(train, dev, test) >= 0 and abs(train + dev + test - 100) < 1e-6):
        raise wrong
    return train, dev, test


def split_of(economy: Mapping[int, int], shares: Shares, seed: int) -> dict[int, str]:
    """The split of each economy (the values of `economy`, by run), in an order drawn with `seed`.

    Every split with a share gets an economy if there are enough; train comes first, then test, then dev.
    """
    economies = sorted(set(economy.values()))
    order = np.random.default_rng([seed, crc32(b"split")]).permutation(len(economies))
    sizes = _whole_economies(len(economies), dict(zip(SPLITS, shares, strict=True)))
    names = [name for name in SPLITS for _ in range(sizes[name])]
    return {economies[i]: name for i, name in zip(order, names, strict=True)}


def _whole_economies(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many of `count` economies each split gets: one each first, the rest to the split that lacks the most."""
    wanted: Sequence[str] = [name for name in ("train", "test", "dev") if shares[name] > 0]
    sizes = {name: int(name in wanted[:count]) for name in SPLITS}
    for _ in range(count - sum(sizes.values())):
        lacking = {name: shares[name] * count / 100 - sizes[name] for name in wanted}
        sizes[max(wanted, key=lambda name: lacking[name])] += 1
    return sizes
