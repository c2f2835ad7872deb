"""How votes are counted: the same people and candidates with platforms under every election rule."""

from evals.experiments.declaration import Experiment
from pipeline.simulation.elections.rules import ELECTION_RULES

EXPERIMENT = Experiment(
    question="Does the election rule matter for welfare?",
    settings={"scenario": "democratic", "platforms": True},
    defaults={"num_agents": 15},
    arms={rule: {"election_rule": rule} for rule in ELECTION_RULES},
)
