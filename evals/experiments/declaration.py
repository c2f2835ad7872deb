"""The declaration of an experiment: a question and its arms. Each is one file in `evals/experiments/declared/`."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import evals.experiments.declared
from pipeline.config import RunConfig
from pipeline.errors import UsageError
from programs.plugins import EXPERIMENT, installed, load
from programs.text_files import underscored

PAPER: Mapping[str, Any] = {
    "economy": "v1",
    "welfare": "paper",
    "satisfaction": "objective",
    "prompt_algo": "io",
    "history_len": 50,
    "two_timescale": 25,
    "max_timesteps": 2500,
}
"""The settings of `experiments/run_experiments.py` in the LLM Economist's released code (Karten et al. 2025, arXiv
2507.15815), with that code's economy and welfare. Dissatisfaction lowers the objective, as in the paper. Workers and
brackets are the defaults, 5 and `three`, in both programs."""

PAPER_IS = (
    "--paper: the settings of the experiment script in the LLM Economist's released code (v1), unless the experiment's "
    "flags or yours override them: 5 workers, 3 brackets, 2,500 years, tax years of 25."
)
"""The published setting that `--paper` reproduces."""

PAPER_IS_NOT = (
    "--paper is not the setting of the paper's text, which has up to 100 workers and the federal brackets "
    "(--num-agents 100 --bracket-setting US_FED); and prompts, personas and the Saez formula differ from v1, whose "
    "faults are listed in docs/v1.md."
)
"""The published setting that `--paper` does not reproduce."""

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question and its `arms`: settings by name, the reference first.

    `settings` define the experiment, and no flag changes them; flags override `defaults`. `each`: values of this flag,
    separated by commas, replace the declared arms. `tax_years`: tax years per arm if no flag sets the years. `paired`:
    all arms have the same people. `by_welfare`: the experiment judges the law under every welfare function, not the run
    under one. `solved`: every worker best-responds, so the economy is solved instead of played. `shown`: the measures
    in the figure; experiments by welfare have their own. `needing`: arms that take part only if a flag is given,
    including `paper`.
    """

    question: str
    arms: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    each: str | None = None
    needing: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    tax_years: int | None = None
    paired: bool = True
    by_welfare: bool = False
    solved: bool = False
    shown: tuple[str, ...] = ("welfare", "planner_share", "regret_share", "hours")

    def common(self, given: Mapping[str, Any], *, paper: bool) -> dict[str, Any]:
        """The settings that all arms share, from the flags that were `given`."""
        if "," in str(given.get("llm") or "") and self.each != "llm":
            raise UsageError(f"--llm {given['llm']}: only `experiment llm_comparison` takes several models; give one")
        kept = {name: value for name, value in given.items() if name != self.each}
        return {**self.defaults, **(PAPER if paper else {}), **kept, **self.settings}

    def layout(self, given: Mapping[str, Any], *, paper: bool) -> dict[str, dict[str, Any]]:
        """The settings of each arm."""
        arms = {arm: dict(own) for arm, own in self.arms.items()}
        for flag, more in self.needing.items():
            arms |= {arm: dict(own) for arm, own in more.items() if {**given, "paper": paper}.get(flag)}
        if self.each is not None and given.get(self.each):
            values = filter(None, map(str.strip, str(given[self.each]).split(",")))
            arms = {value: {self.each: value} for value in values}
            if not arms:
                raise UsageError(
                    f"--{self.each} {given[self.each]!r} contains no value; expected e.g. {','.join(self.arms)}"
                )
        if self.tax_years is not None and "max_timesteps" not in given:
            common = self.common(given, paper=paper)
            for own in arms.values():
                length = int({**common, **own}.get("two_timescale", RunConfig().two_timescale))
                own["max_timesteps"] = self.tax_years * length
        return arms

    def unmoved(self, given: Mapping[str, Any]) -> Iterator[str]:
        """Given settings that have no effect because the experiment sets them."""
        own = {**self.settings, **{name: None for arm in self.arms.values() for name in arm if name != self.each}}
        for name, value in given.items():
            if name in own and str(own[name]) != str(value):
                yield name


def catalog() -> dict[str, Experiment]:
    """Every experiment by the name of its file."""
    names = sorted(module.name for module in pkgutil.iter_modules(evals.experiments.declared.__path__))
    return {name: import_module(f"evals.experiments.declared.{name}").EXPERIMENT for name in names}


def choose(name: str) -> dict[str, Experiment]:
    """The experiment called `name`, all, or the user's own one by `module:NAME` or as an entry point. UsageError."""
    known, wanted = catalog(), underscored(name)
    if wanted == ALL:
        return known
    if wanted in known:
        return {wanted: known[wanted]}
    if ":" not in name and name not in installed(EXPERIMENT):
        near = difflib.get_close_matches(wanted, known, n=1)
        meant = (
            f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}, paper, {ALL}, or module:NAME"
        )
        raise UsageError(f"no experiment {name!r}; {meant}")
    return {name: _own(name)}


def _own(name: str) -> Experiment:
    """The user's own experiment. UsageError in one line."""
    try:
        found = load(EXPERIMENT, name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(found, Experiment):
        raise UsageError(
            f"experiment {name} is of type {type(found).__name__}; expected an evals.experiments.declaration.Experiment"
        )
    if not isinstance(found.arms, Mapping) or not found.arms:
        raise UsageError(f"experiment {name} has no arms; expected settings by arm, the reference first")
    for arm, own in found.arms.items():
        if not isinstance(own, Mapping):
            raise UsageError(f"experiment {name}: arm {arm!r} is {own!r:.60}; expected settings by name")
    return found


def listing() -> str:
    """Every experiment with its question and its arms."""
    listed = "\n".join(f"{name}\n  {one.question}\n  arms: {_arms_in_words(one)}" for name, one in catalog().items())
    return f"{listed}\npaper\n  One row per published claim: its value, ours, the deviation (not part of `{ALL}`)."


def _arms_in_words(experiment: Experiment) -> str:
    more = (f"; with --{flag}: {', '.join(arms)}" for flag, arms in experiment.needing.items())
    return ", ".join(experiment.arms) + "".join(more)
