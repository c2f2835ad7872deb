"""`python -m evals` is `llm-economist`."""

from evals.cli import main

main()
