"""Ask the database of a run: saved questions, SQL, from a call to a decision and its cost, an elasticity."""

import marimo

app = marimo.App(app_title="Query the traces")


@app.cell
def _():
    import tempfile
    from pathlib import Path

    import marimo as mo

    import llm_economist as le

    run = le.simulate(
        llm="rules",
        scenario="bounded",
        num_agents=10,
        max_timesteps=20,
        two_timescale=5,
        db=Path(tempfile.mkdtemp()) / "traces.duckdb",
    )
    return mo, run


@app.cell
def _(mo, run):
    mo.vstack([mo.md("# Query the traces\n\nEvery question and answer of this run is a row in one DuckDB file."), run])
    return


@app.cell
def _(mo):
    mo.md("""
    ## Saved questions

    `llm-economist sql --list` shows all, with their parameters.
    """)
    return


@app.cell
def _(mo):
    names = ["hours_by_wage_decile", "worst_calls", "bunching", "learning_curve", "regret_by_group", "schedules"]
    name = mo.ui.dropdown(names, value=names[0], label="question")
    name
    return (name,)


@app.cell
def _(mo, name, run):
    mo.ui.table(run.question(name.value).to_arrow_table(), page_size=10)
    return


@app.cell
def _(mo):
    mo.md("""
    ## From a call to its cost

    `calls`, `decisions` and `years` join on run, year and agent: what was asked, what was decided, what came of it.
    """)
    return


@app.cell
def _(mo, run):
    worst = run.sql("""
        select d.year, d.agent, d.labor, round(d.regret) as regret, round(y.welfare) as welfare, c.response
        from decisions d join years y using (run_id, year) join calls c using (call_id)
        where d.run_id = $run_id order by regret desc limit 10""")
    mo.ui.table(worst.to_arrow_table())
    return


@app.cell
def _(mo):
    mo.md("""
    ## The elasticity of income

    The regression of log income on the log net-of-tax rate, with fixed effects for workers and years, in one query: in
    a panel without gaps, subtracting both means is the within estimator. The exact elasticity of best responses is 0.4;
    the marginal rate depends on the income that was chosen, which biases this estimate.
    """)
    return


@app.cell
def _(mo, run):
    ((elasticity, decisions),) = run.sql("""
        with logs as (
            select agent, year, ln(income) as y, ln(net_of_tax_rate) as x
            from panel where run_id = $run_id and income > 0 and net_of_tax_rate > 0),
        within as (
            select y - avg(y) over (partition by agent) - avg(y) over (partition by year) + avg(y) over () as y,
                   x - avg(x) over (partition by agent) - avg(x) over (partition by year) + avg(x) over () as x
            from logs)
        select regr_slope(y, x), count(*) from within""").fetchall()
    mo.md(f"Estimate: **{elasticity:.2f}**, from {decisions} decisions.")
    return


if __name__ == "__main__":
    app.run()
