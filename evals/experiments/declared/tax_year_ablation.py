"""How long a law stays in force before it changes.

The planner has the same number of turns in every arm; the workers have more or fewer years to respond to each.
"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Does the planner learn more from laws that stay in force longer?",
    tax_years=20,
    arms={f"{years} years": {"two_timescale": years} for years in (5, 10, 25, 50, 100)},
)
