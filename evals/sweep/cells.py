"""The cells of a sweep, each an arm with one seed, and the runs in a database that are the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from hashlib import blake2b
from typing import Any

from evals.run.command import choose_model
from pipeline.config import PLACEMENT, ROLES, RunConfig, build, by_role
from pipeline.errors import UsageError
from pipeline.store.writer import Reader, as_json, code_version
from programs.roles import saved_program

NOT_ASKED = (
    "llm",  # compared as the model it stands for
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
    "debug",
)
"""Settings that change nothing of what is asked: runs that differ in these alone are the same."""


@dataclass(frozen=True)
class Cell:
    """A run that a sweep wants: an arm's settings with one seed, and the model that is asked."""

    arm: str
    config: RunConfig
    model: str

    @cached_property
    def key(self) -> str:
        """What the cell is, whatever it is called: equal cells are one run."""
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
    """A hash of what is asked: the settings as JSON has them, the model, and the `programs` by role as hashes.

    Strategies count as they come out by role, however they were given; programs by content, wherever they lie.
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
    """The settings that a run has if none are given."""
    return as_stored(as_json(RunConfig().public()))


def cells(
    settings: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], *, seeds: Iterable[int], name: str = ""
) -> list[Cell]:
    """A cell for every arm and seed, seed by seed: what all have in common, with the arm's own settings over it.

    UsageError says in one line what does not fit.
    """
    made = {arm: _cell(arm, merged(settings, own)) for arm, own in arms.items()}
    return [
        replace(cell, config=replace(cell.config, seed=seed, name=f"{name} {arm} seed {seed}".strip()))
        for seed in seeds
        for arm, cell in made.items()
    ]


def merged(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with an arm's `own` over them. Settings by role join role by role, and a role that the arm gives a
    strategy has no program but the arm's.

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
    """What is set by role, as text or as a table. UsageError where the text is neither."""
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
    """What of a sweep is there. Runs by the key of their cell, and how many years of one that was cut off are whole.

    `other_code`: cells that only other versions of the code have finished.
    """

    done: dict[str, int] = field(default_factory=dict)
    cut_off: dict[str, int] = field(default_factory=dict)
    years: dict[str, int] = field(default_factory=dict)
    other_code: frozenset[str] = frozenset()

    def joined(self, other: Plan) -> Plan:
        """What is there in either of two files."""
        done = {**other.done, **self.done}
        return Plan(
            done,
            {**other.cut_off, **self.cut_off},
            {**other.years, **self.years},
            (self.other_code | other.other_code) - done.keys(),
        )

    def missing(self, wanted: Iterable[Cell]) -> list[Cell]:
        """Cells that are not done, each once; those that were cut off first."""
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
    """Which of the `wanted` cells are in a database: played to the end, or cut off and ready to go on.

    Of several runs that would do, the first one. Only runs by this very code count, unless `any_code`.
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
