"""What a shell offers for a value that is not a fixed choice: names of parts, laws, saved queries, figures.

A shell calls the program at every Tab, so nothing slow is imported: `STRATEGIES` and `FIGURES` repeat the names of
programs/strategies/registry.py and evals/figures/catalog.py, and a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pipeline.config import OWN_PARTS

STRATEGIES = ("io", "cot", "sc", "best_of_n", "refine", "reflect", "knn")

FIGURES = (
    *("schedule", "welfare", "gains", "hours_by_decile", "hours", "lorenz", "income", "regret", "regret_by_wage"),
    *("best_hours", "satisfaction", "satisfaction_over_years", "elections", "laffer", "mvpf", "inverse_weights"),
    *("elasticity", "cost"),
)

Completion = Callable[[str], list[str]]


def _of(names: Callable[[], Iterable[str]]) -> Completion:
    """Those of the names that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def _laws() -> Iterable[str]:
    from pipeline.economy.laws.named_laws import NAMES

    return NAMES


def _saved_queries() -> Iterable[str]:
    from evals.sql.saved_queries import questions

    return questions()


def _experiments() -> Iterable[str]:
    import pkgutil

    from evals.experiments import declared

    return (*sorted(module.name for module in pkgutil.iter_modules(declared.__path__)), "all", "paper")


laws, saved_queries, experiments = map(_of, (_laws, _saved_queries, _experiments))
figures = _of(lambda: FIGURES)

SETTINGS: Mapping[str, Completion] = {
    "prompt_algo": _of(lambda: STRATEGIES),
    "law": laws,
    **{name: _of(lambda builtin=builtin: builtin) for name, (_, builtin) in OWN_PARTS.items()},  # type: ignore[misc]
}
"""By the name of a setting of a run. Settings with fixed choices need none."""
