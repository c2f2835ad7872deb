"""`python -m evals` is `llm-economist`."""

from evals.cli.main import program

program()
