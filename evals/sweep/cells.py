"""The cells of a sweep, each an arm with one seed, and the matching runs in a database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from hashlib import blake2b
from typing import Any

from pipeline.agents.model_choice import choose_model
from pipeline.code_version import code_version
from pipeline.config import PLACEMENT, ROLES, TELEMETRY, RunConfig, build, by_role
from pipeline.errors import UsageError
from pipeline.store.columns import Reader, as_json
from programs.roles import saved_program

NOT_ASKED = (
    "llm",  # compared by the model that it resolves to
    "name",
    "log_dir",
    "db",
    "timeout",
    "concurrency",
    "rpm",
    "tpm",
    *PLACEMENT,
    "max_cost_usd",
    "max_tokens",
    "prices",
    "use_multithreading",
    "wandb",
    "trackio",
    *TELEMETRY,
    "debug",
    "callback",
)
"""Settings that do not change the questions: runs that differ only in these are the same."""


@dataclass(frozen=True)
class Cell:
    """A run of a sweep: an arm's settings with one seed, and the model."""

    arm: str
    config: RunConfig
    model: str

    @cached_property
    def key(self) -> str:
        """The identity of the cell, whatever its name: equal cells are one run."""
        try:
            programs = {
                role: saved_program.state_hash(saved_program.read(path)["predictors"])
                for role, path in self.config.program.items()
            }
        except ValueError as error:
            raise UsageError(f"{self.arm}: {error}") from error
        return key_of(as_stored(as_json(self.config.public())), self.model, programs)

    @property
    def shown(self) -> str:
        return f"{self.arm}, seed {self.config.seed}"


def key_of(settings: Mapping[str, Any], model: str, programs: Mapping[str, str]) -> str:
    """A hash of the questions: the settings as in JSON, the model, and the `programs` by role as hashes.

    Strategies count as resolved by role, however they were given; programs by content, wherever they are stored.
    """
    asked = {name: value for name, value in {**_defaults(), **settings}.items() if name not in NOT_ASKED}
    everybody, own = asked.pop("prompt_algo"), asked.pop("strategy")
    asked |= {"model": model, "program": dict(programs)}
    asked |= {"strategy": {role: own.get(role, everybody) for role in ROLES}}
    return blake2b(as_json(asked).encode(), digest_size=8).hexdigest()


def as_stored(config: str) -> dict[str, Any]:
    """Settings from their JSON, where 40.0 is 40."""
    settings: dict[str, Any] = json.loads(config, parse_float=lambda text: _number(float(text)))
    return settings


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


@cache
def _defaults() -> Mapping[str, Any]:
    """The default settings of a run."""
    return as_stored(as_json(RunConfig().public()))


def cells(
    settings: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], *, seeds: Iterable[int], name: str = ""
) -> list[Cell]:
    """A cell for every arm and seed, seed by seed: the common settings, overridden by the arm's own.

    UsageError gives the conflict in one line.
    """
    made = {arm: _cell(arm, merged(settings, own)) for arm, own in arms.items()}
    return [
        replace(cell, config=replace(cell.config, seed=seed, name=f"{name} {arm} seed {seed}".strip()))
        for seed in seeds
        for arm, cell in made.items()
    ]


def merged(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` overridden by an arm's `own`. Settings by role are merged by role, and a role to which the arm gives a
    strategy keeps only the arm's program.

    >>> merged({"strategy": "worker=io,planner=cot", "seed": 3}, {"strategy": {"worker": "cot"}})
    {'strategy': {'worker': 'cot', 'planner': 'cot'}, 'seed': 3}
    """
    both = dict(settings)
    for name, value in own.items():
        by_role_too = isinstance(_defaults().get(name), Mapping)
        both[name] = {**_roles(settings.get(name, {})), **_roles(value)} if by_role_too else value
    if "program" in both:
        strategies, programs = own.get("strategy", {}), _roles(own.get("program", {}))
        kept = _roles(both["program"]).items()
        both["program"] = {role: path for role, path in kept if role in programs or role not in strategies}
    return both


def _roles(value: Any) -> dict[str, Any]:
    """Settings by role, from text or from a table. UsageError if the text is invalid."""
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return by_role(str(value))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _cell(arm: str, settings: Mapping[str, Any]) -> Cell:
    try:
        config = build(settings)
    except ValueError as error:
        raise UsageError(f"{arm}: {error}") from error
    return Cell(arm, config, choose_model(config)[0])


@dataclass(frozen=True)
class Plan:
    """The state of a sweep. Runs by the key of their cell, and the number of complete years of interrupted ones.

    `other_code`: cells that only other versions of the code have finished.
    """

    done: dict[str, int] = field(default_factory=dict)
    cut_off: dict[str, int] = field(default_factory=dict)
    years: dict[str, int] = field(default_factory=dict)
    other_code: frozenset[str] = frozenset()

    def joined(self, other: Plan) -> Plan:
        """The combined state of two files."""
        done = {**other.done, **self.done}
        return Plan(
            done,
            {**other.cut_off, **self.cut_off},
            {**other.years, **self.years},
            (self.other_code | other.other_code) - done.keys(),
        )

    def missing(self, wanted: Iterable[Cell]) -> list[Cell]:
        """Unfinished cells, each once; interrupted ones first."""
        cells_by_key = {cell.key: cell for cell in wanted if cell.key not in self.done}
        return sorted(cells_by_key.values(), key=lambda cell: cell.key not in self.cut_off)


STORED = """
SELECT r.run_id, r.status, r.llm, r.config, r.max_timesteps, r.code_version,
       (SELECT count(*) FROM years y WHERE y.run_id = r.run_id) AS years,
       (SELECT map(list(p.role), list(p.state)) FROM programs p WHERE p.run_id = r.run_id AND p.program IS NOT NULL)
           AS programs
FROM runs r
WHERE r.parent_run_id IS NULL AND r.seed IN (SELECT unnest(?::BIGINT[])) AND r.llm IN (SELECT unnest(?::VARCHAR[]))
ORDER BY years DESC, r.run_id
"""


def plan(reader: Reader, wanted: Sequence[Cell], *, any_code: bool = False) -> Plan:
    """Which of the `wanted` cells a database holds: finished, or interrupted and ready to resume.

    If several runs match, the first counts. Only runs of this version of the code count, unless `any_code`.
    """
    found, others = Plan(), set[str]()
    keys = {cell.key for cell in wanted}
    which = [sorted({cell.config.seed for cell in wanted}), sorted({cell.model for cell in wanted})]
    for row in reader.rows(STORED, which):
        states = {role: saved_program.state_hash(json.loads(state)) for role, state in (row["programs"] or {}).items()}
        key = key_of(as_stored(row["config"]), row["llm"], states)
        same_code, finished = row["code_version"] == code_version(), row["status"] == "finished"
        whole = finished and row["years"] == row["max_timesteps"]
        if key not in keys or (finished and not whole):
            continue
        if whole and (same_code or any_code):
            found.done.setdefault(key, row["run_id"])
        elif whole:
            others.add(key)
        elif same_code and key not in found.cut_off:
            found.cut_off[key], found.years[key] = row["run_id"], row["years"]
    return replace(found, other_code=frozenset(others - found.done.keys()))
