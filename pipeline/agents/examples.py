"""Examples for the strategy `knn`: the best stored decisions of earlier runs, read back from their prompts.

The best decisions are those that the store can measure: hours with the least regret, and rate changes with the largest
gain in welfare. For the other questions, the newest answers are taken.
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
"""The key of a role's examples in `programs.state`: a resumed run keeps the examples that it started with."""

MOST = 200
"""Maximum number of examples per question."""


def pools(modules: Mapping[str, dspy.Module], config: RunConfig, store: Reader | None = None) -> Pools:
    """Examples by question, for each of the `modules` that uses some, from `--examples` or else from the run's
    database.

    `store`: the run's database if this process has it open. Only runs with the same economy, objective, brackets and
    dollars count, because in others different decisions are good. UsageError if the named database does not exist.
    """
    if config.examples is not None and not Path(config.examples).exists():
        raise UsageError(f"--examples {config.examples} does not exist; expected a database of llm-economist")
    return {
        question: _pool(question, module.answer.signature, config, store)
        for question, module in modules.items()
        if _wants(module)
    }


def _wants(module: dspy.Module) -> bool:
    """Whether a module chooses from examples and was not tuned with any."""
    return isinstance(module, NearestShots) and not module.answer.demos


def fixed_pools(modules: Mapping[str, dspy.Module], config: RunConfig) -> Pools:
    """The same for a run of a comparison, whose examples must not depend on which runs came before it."""
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
    """The signature's inputs, from stored prompts, and outputs, from parsed answers; incomplete examples are left
    out."""
    for prompt, parsed in rows:
        shown = {**inputs_of(prompt), **json.loads(parsed)}
        if all(name in shown for name in signature.fields):
            yield {name: shown[name] for name in signature.fields}


def inputs_of(prompt: str) -> Mapping[str, str]:
    """The input fields of the last question in a stored prompt, in any prompt format."""
    said = messages_in(prompt)
    system = next((text for role, text in said if role == "system"), "")
    found = prompt_parser.find(system, [text for role, text in said if role != "system"])
    return {} if found is None else found[0][0]


def learn(modules: Mapping[str, dspy.Module], known: Pools) -> None:
    """Give each module that uses examples those that are `known` for its question."""
    for question, module in modules.items():
        if isinstance(module, NearestShots):
            module.learn(known.get(question, ()))


def stored_pools(reader: Reader, run_id: int) -> Pools:
    """The pools of examples of a run's strategies."""
    rows = reader.rows("SELECT state FROM programs WHERE run_id = ? AND state IS NOT NULL", [run_id])
    return {question: pool for row in rows for question, pool in json.loads(row["state"]).get(POOL, {}).items()}
