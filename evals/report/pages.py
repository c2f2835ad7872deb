"""The report of one run as text, for those who keep it elsewhere; its packages are imported when it is made."""

from __future__ import annotations

from pipeline.store.columns import Reader


def page_of_run(reader: Reader, run_id: int) -> str:
    """The page of `llm-economist report RUN`, as HTML."""
    from evals.report.command import gather, render

    return render(gather(reader, [str(run_id)]))
