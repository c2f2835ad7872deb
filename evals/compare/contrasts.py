"""Compare arms with a reference, paired by seed: means, intervals and p-values from one row of figures per run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evals.compare.run_measures import BY_OBJECTIVE, MEASURES, OWN, Figures, Measure
from evals.compare.statistics import Interval, detectable, holm, interval, p_value, pairs_for, pairs_needed
from pipeline.store.columns import Row, now


@dataclass(frozen=True)
class Result:
    """The run of one cell and its figures. `run_id`: None if the economy was solved instead of played."""

    arm: str
    seed: int
    run_id: int | None
    figures: Figures


@dataclass(frozen=True)
class Contrast:
    """The mean difference between an arm and the reference over the `pairs` seeds that both have, with its interval.

    `p`: of the test that corresponds to the interval; None for what is not tested. `p_holm`: corrected over the arms;
    None for all but the primary outcome. `detectable`: the difference that this many pairs can detect. `needed`: pairs
    that detect the requested difference.
    """

    pairs: int
    difference: Interval
    p: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    needed: int | None = None


@dataclass(frozen=True)
class Estimate:
    """One measure of one arm: its mean over `runs` with its interval, and its contrast with the reference.

    `contrast`: None for the reference, and for measures whose unit differs there.
    """

    arm: str
    measure: str
    runs: int
    mean: Interval
    contrast: Contrast | None = None


@dataclass(frozen=True)
class Comparison:
    """Arms with their estimates, all under one `welfare` function; the first arm is the reference.

    `flags`: by arm, the seeds of runs in which more than `max_fallback` of the questions of a kind had no usable
    answer. `measures`: the measures estimated. `paired`: whether the arms have the same people; otherwise there is no
    reference. `primary`: the outcome whose tests Holm's correction covers. `objectives`: each arm's own.
    """

    study: str
    welfare: str
    results: Sequence[Result]
    estimates: Sequence[Estimate]
    flags: Mapping[str, Sequence[int]]
    max_fallback: float
    measures: Mapping[str, Measure] = field(default_factory=lambda: MEASURES)
    paired: bool = True
    primary: str = "welfare"
    objectives: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str | None:
        return self.arms[0] if self.paired else None

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(result.arm for result in self.results))

    @property
    def tests(self) -> int:
        """Number of tests of the primary outcome, one per arm."""
        return sum(one.contrast is not None and one.contrast.p_holm is not None for one in self.estimates)

    @property
    def pairs(self) -> int | None:
        """Pairs behind the primary outcome, for the arm with the fewest; None if nothing is paired."""
        contrasts = (one.contrast for one in self.estimates if one.measure == self.primary)
        return min((contrast.pairs for contrast in contrasts if contrast is not None), default=None)

    @property
    def fewest(self) -> int:
        """The number of seeds below which the reader is warned that they are few."""
        return pairs_for(self.tests)

    @property
    def differ(self) -> bool:
        """Whether the arms' objectives differ."""
        return len(set(self.objectives.values())) > 1

    def judged_by(self, arm: str, measure: str) -> str | None:
        """The welfare function behind a measure of an arm; None if the measure depends on none."""
        if measure.startswith(OWN):
            return self.objectives[arm]
        return self.welfare if measure in BY_OBJECTIVE else None

    @property
    def seeds(self) -> list[int]:
        return sorted({result.seed for result in self.results})


def estimates(
    results: Sequence[Result],
    reference: str | None,
    *,
    primary: str = "welfare",
    detect: Mapping[str, float] | None = None,
    measures: Mapping[str, Measure] = MEASURES,
) -> list[Estimate]:
    """Each of the `measures` of every arm, in the order of the arms; without a `reference` only means.

    The family of Holm's correction: the `primary` outcome of all arms but the reference. ValueError if `primary` is not
    among the measures. `detect`: by measure, the difference for `Contrast.needed`.
    """
    if reference is not None and primary not in measures:
        raise ValueError(f"the primary outcome {primary!r} is not among the measures")
    arms = list(dict.fromkeys(result.arm for result in results))
    made = [_estimate(results, arm, one, reference, detect or {}) for arm in arms for one in measures.values()]
    family = [i for i, one in enumerate(made) if one.measure == primary and one.contrast is not None]
    tested = [i for i in family if _p(made[i]) is not None]
    for i, p_holm in zip(tested, holm([_p(made[i]) or 0.0 for i in tested]), strict=True):
        contrast = made[i].contrast
        assert contrast is not None
        made[i] = replace(made[i], contrast=replace(contrast, p_holm=p_holm))
    return made


def _p(estimate: Estimate) -> float | None:
    return None if estimate.contrast is None else estimate.contrast.p


def _estimate(
    results: Sequence[Result], arm: str, measure: Measure, reference: str | None, detect: Mapping[str, float]
) -> Estimate:
    own, contrast = _by_seed(results, arm, measure.name), None
    if reference is not None and arm != reference and measure.compared:
        contrast = _contrast(own, _by_seed(results, reference, measure.name), measure, detect)
    return Estimate(arm, measure.name, len(own), interval(list(own.values())), contrast)


def _by_seed(results: Iterable[Result], arm: str, measure: str) -> dict[int, float]:
    """The values of an arm by seed, without missing ones."""
    values = {result.seed: result.figures[measure] for result in results if result.arm == arm}
    return {seed: value for seed, value in values.items() if value is not None}


def _contrast(
    own: Mapping[int, float], others: Mapping[int, float], measure: Measure, detect: Mapping[str, float]
) -> Contrast:
    differences = [_apart(value, others[seed]) for seed, value in own.items() if seed in others]
    x = detect.get(measure.name)
    return Contrast(
        pairs=len(differences),
        difference=interval(differences),
        p=number(p_value(differences)) if measure.outcome else None,
        detectable=number(detectable(differences)),
        needed=None if x is None else pairs_needed(differences, x),
    )


def _apart(one: float, other: float) -> float:
    """The difference of two figures; zero if it is only rounding error."""
    return 0.0 if math.isclose(one, other, rel_tol=1e-9) else one - other


def flagged(results: Iterable[Result], max_fallback: float) -> dict[str, list[int]]:
    """By arm, the seeds of runs in which more than `max_fallback` of the questions of a kind had no usable answer."""
    found: dict[str, list[int]] = {}
    for result in results:
        if (result.figures.get("fallback_rate") or 0) > max_fallback:
            found.setdefault(result.arm, []).append(result.seed)
    return found


def evaluation_rows(
    study: str, results: Iterable[Result], made: Iterable[Estimate], reference: str | None
) -> list[Row]:
    """Rows of `evaluations`: one per run (or law) and measure, one per arm and measure, one per difference."""
    key = {"study": study, "created_at": now()}
    rows = [
        _row(**key, subject=_subject(one), arm=one.arm, seed=one.seed, run_id=one.run_id, metric=name, score=value)
        for one in results
        for name, value in one.figures.items()
    ]
    for one in made:
        about = {**key, "arm": one.arm, "metric": one.measure}
        rows.append(_row(**about, subject="arm", runs=one.runs, **_ends(one.mean)))
        if one.contrast is not None:
            tests = {name: getattr(one.contrast, name) for name in ("p", "p_holm", "detectable")}
            rows.append(
                _row(
                    **about,
                    subject="difference",
                    reference=reference,
                    runs=one.contrast.pairs,
                    **_ends(one.contrast.difference),
                    **tests,
                )
            )
    return rows


def _subject(result: Result) -> str:
    return "law" if result.run_id is None else "run"


COLUMNS = (
    *("run_id", "subject", "metric", "score", "feedback", "created_at"),
    *("study", "arm", "reference", "seed", "runs", "low", "high", "p", "p_holm", "detectable"),
)


def _row(**values: Any) -> Row:
    return {column: values.get(column) for column in COLUMNS}


def _ends(given: Interval) -> dict[str, float | None]:
    return {"score": number(given.mean), "low": number(given.low), "high": number(given.high)}


def number(value: float | None) -> float | None:
    """The value, or None if it is missing."""
    return None if value is None or math.isnan(value) else value
