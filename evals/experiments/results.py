"""The results of an experiment: its arms with intervals, from the runs played or the economy solved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.compare.command import judged, results_of, study_name
from evals.compare.contrasts import Comparison, Result, estimates, evaluation_rows, flagged
from evals.compare.run_measures import MEASURES, OWN_SHARE, Measure, measures_for
from evals.elections.diagnosis import MEANS, Lab, diagnose, governed
from evals.experiments import solved_baselines as solved
from evals.experiments.declaration import Experiment
from evals.experiments.solved_baselines import SHARE, SHARES, VALUES, SolvedBaselines, measures_of
from evals.output.console import Console
from evals.sweep.cells import Cell
from evals.sweep.sweep import Sweep
from pipeline.economy.welfare import WELFARE
from pipeline.scenarios import SCENARIOS
from pipeline.store.columns import Row
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store

ELECTED: Mapping[str, Measure] = {name: Measure(name, "of elections") for name in MEANS}
"""The measures of elections, for experiments that hold them."""


@dataclass(frozen=True)
class Finding:
    """An experiment and its arms. `labs`: the elections of its runs. `solved`: set if the economy was solved."""

    name: str
    experiment: Experiment
    arms: Comparison
    labs: Sequence[Lab] = ()
    solved: SolvedBaselines | None = None

    @property
    def drawn(self) -> list[Measure]:
        """The measures in the figure."""
        if self.solved is not None:
            return [SHARES[f"{name}{SHARE}"] for name in self.solved.objectives]
        return (
            list(VALUES.values()) if self.experiment.by_welfare else [MEASURES[name] for name in self.experiment.shown]
        )


@dataclass(frozen=True)
class Judge:
    """Judges experiments. `runs`: by `Cell.key`; `max_fallback`: a share; `detect`: differences by measure."""

    db: str
    runs: Mapping[str, int]
    max_fallback: float
    detect: Mapping[str, float]

    def played(self, name: str, experiment: Experiment, cells: Sequence[Cell]) -> Finding:
        """Judge an experiment whose runs are finished, and store the results in `evaluations`."""
        sweep, welfare = Sweep(cells, self.db), str(cells[0].config.welfare)
        measures = measures_for(cell.config.welfare for cell in cells)
        results = judged(sweep, self.runs, welfare=welfare, measures=measures)
        if experiment.by_welfare:
            welfare = "all"
            results = self._by_welfare(sweep, results)
            others = {key: one for key, one in measures.items() if key == OWN_SHARE or not one.outcome}
            measures = {**VALUES, **others}
        arms = self._arms(name, experiment, cells, results, measures, welfare)
        labs = self._labs(cells)
        self._store(arms, _lab_rows(arms, labs))
        return Finding(name, experiment, arms, list(labs.values()))

    def solved(
        self, name: str, experiment: Experiment, cells: Sequence[Cell], objectives: Sequence[str], console: Console
    ) -> Finding:
        """Judge a solved experiment under each of the `objectives`, and store the results in `evaluations`."""
        made = solved.solve(cells, objectives, console)
        welfare = objectives[0] if len(objectives) == 1 else "all"
        arms = self._arms(name, experiment, cells, made.results, measures_of(objectives), welfare)
        self._store(arms, [])
        return Finding(name, experiment, arms, solved=made)

    def _by_welfare(self, sweep: Sweep, results: Sequence[Result]) -> list[Result]:
        """The results, with the value of the last law under every welfare function."""
        values = {name: results_of(sweep, self.runs, welfare=name) for name in WELFARE}
        return [
            Result(
                one.arm,
                one.seed,
                one.run_id,
                {**one.figures, **{name: values[name][i].figures["welfare_best_response"] for name in WELFARE}},
            )
            for i, one in enumerate(results)
        ]

    def _arms(
        self,
        name: str,
        experiment: Experiment,
        cells: Sequence[Cell],
        results: Sequence[Result],
        measures: Mapping[str, Measure],
        welfare: str,
    ) -> Comparison:
        kept = [
            Result(one.arm, one.seed, one.run_id, {measure: one.figures[measure] for measure in measures})
            for one in results
        ]
        reference = cells[0].arm if experiment.paired else None
        primary = cells[0].config.welfare if experiment.by_welfare else "welfare"
        return Comparison(
            study=study_name(name, cells, welfare),
            welfare=welfare,
            results=kept,
            estimates=estimates(kept, reference, primary=primary, detect=self.detect, measures=measures),
            flags=flagged(kept, self.max_fallback),
            max_fallback=self.max_fallback,
            measures=measures,
            paired=experiment.paired,
            primary=primary,
            objectives={cell.arm: cell.config.welfare for cell in cells},
        )

    def _labs(self, cells: Sequence[Cell]) -> dict[int, Lab]:
        """The elections of the runs in which a government has had a turn, by run."""
        asked = {self.runs[cell.key] for cell in cells if SCENARIOS[cell.config.scenario].elections}
        with ReadOnlyStore(self.db) as reader:
            return {run_id: diagnose(reader, str(run_id)) for run_id in governed(reader) if run_id in asked}

    def _store(self, arms: Comparison, more: Sequence[Row]) -> None:
        rows = evaluation_rows(arms.study, arms.results, arms.estimates, arms.reference)
        with Store(self.db) as store:
            store.write_study(arms.study, [*rows, *more])


def _lab_rows(arms: Comparison, labs: Mapping[int, Lab]) -> list[Row]:
    """The figures of elections as rows of `evaluations`: of each run, and the means of each arm."""
    held = [
        Result(one.arm, one.seed, one.run_id, labs[one.run_id].means())
        for one in arms.results
        if one.run_id in labs and one.run_id is not None
    ]
    return evaluation_rows(arms.study, held, estimates(held, None, measures=ELECTED), None)
