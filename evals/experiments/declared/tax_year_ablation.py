"""How long a law stands before it is changed.

The planner has as many turns in every arm, the workers more or fewer years to answer each of them.
"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Does the planner learn more from laws that stand for longer?",
    tax_years=20,
    arms={f"{years} years": {"two_timescale": years} for years in (5, 10, 25, 50, 100)},
)
