"""Examples for the strategy `knn`: the best stored decisions of earlier runs, read back from their prompts.

Best is what the store can measure: the least regret of hours, the largest gain of welfare by new rates. Of the other
questions the newest answers are taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import dspy

from pipeline.agents.call_trace import messages_in
from pipeline.config import RunConfig
from pipeline.errors import UsageError
from pipeline.store.columns import Reader
from pipeline.store.query import select
from programs.engines.rules import prompt_parser
from programs.strategies.few_shot import NearestShots

Pools = Mapping[str, Sequence[Mapping[str, Any]]]
"""Examples by question (a signature's name), each with its inputs and outputs by name."""

POOL = "pool"
"""Where a role's examples are in `programs.state`: a resumed run has those that it began with."""

MOST = 200
"""Examples that are kept of a question."""


def pools(modules: Mapping[str, dspy.Module], config: RunConfig, store: Reader | None = None) -> Pools:
    """Examples for each of the `modules`, by question, that wants some; from `--examples`, else the run's database.

    `store` is the run's database where this process has it open already.
    Only runs of the same economy, objective, brackets and dollars count: elsewhere other decisions were good.
    UsageError where the database that is named is not there.
    """
    if config.examples is not None and not Path(config.examples).exists():
        raise UsageError(f"--examples {config.examples} does not exist; expected a database of llm-economist")
    return {
        question: _pool(question, module.answer.signature, config, store)
        for question, module in modules.items()
        if _wants(module)
    }


def _wants(module: dspy.Module) -> bool:
    """Whether a module chooses from examples and was not tuned with some."""
    return isinstance(module, NearestShots) and not module.answer.demos


def fixed_pools(modules: Mapping[str, dspy.Module], config: RunConfig) -> Pools:
    """The same for a run that is compared with others: its examples may not depend on which runs came before it."""
    if config.examples is None and any(map(_wants, modules.values())):
        raise UsageError(
            "the strategy knn in a comparison needs --examples FILE, a database of earlier runs (or a tuned program)"
        )
    return pools(modules, config)


def _pool(
    question: str, signature: type[dspy.Signature], config: RunConfig, store: Reader | None
) -> Sequence[Mapping[str, Any]]:
    path = config.examples or config.db
    if not Path(path).exists():
        return ()
    query = files("pipeline").joinpath("agents", "examples.sql").read_text(encoding="utf-8")
    wanted = {"question": question, "most": MOST, "economy": config.economy, "welfare": config.welfare}
    wanted |= {"brackets": config.bracket_setting, "dollars_of": str(config.dollars_of or "")}
    own = store if store is not None and store.path == path else None
    rows = [tuple(row.values()) for row in own.rows(query, wanted)] if own else select(path, query, wanted).rows
    return tuple(_read(rows, signature))


def _read(rows: Iterable[tuple[Any, ...]], signature: type[dspy.Signature]) -> Iterable[Mapping[str, Any]]:
    """Inputs and outputs of the signature from prompts as sent and answers as parsed; what lacks one is left out."""
    for prompt, parsed in rows:
        shown = {**inputs_of(prompt), **json.loads(parsed)}
        if all(name in shown for name in signature.fields):
            yield {name: shown[name] for name in signature.fields}


def inputs_of(prompt: str) -> Mapping[str, str]:
    """The input fields of the question that a stored prompt ends with, in whatever format it was asked."""
    said = messages_in(prompt)
    system = next((text for role, text in said if role == "system"), "")
    found = prompt_parser.find(system, [text for role, text in said if role != "system"])
    return {} if found is None else found[0][0]


def learn(modules: Mapping[str, dspy.Module], known: Pools) -> None:
    """Give the modules that want examples those that are `known` for their question."""
    for question, module in modules.items():
        if isinstance(module, NearestShots):
            module.learn(known.get(question, ()))


def stored_pools(reader: Reader, run_id: int) -> Pools:
    """The pools of examples of a run's strategies."""
    rows = reader.rows("SELECT state FROM programs WHERE run_id = ? AND state IS NOT NULL", [run_id])
    return {question: pool for row in rows for question, pool in json.loads(row["state"]).get(POOL, {}).items()}
