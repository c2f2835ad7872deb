-- The trace store. One file holds many runs; (run_id, year, agent) joins calls, decisions and outcomes.
-- Money is US dollars a year, labor hours a week, rates percent, times UTC.

-- What this file is, and which version of this schema it has.
CREATE TABLE IF NOT EXISTS meta(key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);

-- One row a run. status: running, finished, failed, interrupted, stopped (by a cap).
-- parent_run_id, fork_year: a fork shares its parent's years before fork_year.
CREATE TABLE IF NOT EXISTS runs(
    run_id INTEGER PRIMARY KEY, name VARCHAR, created_at TIMESTAMP, finished_at TIMESTAMP, status VARCHAR, error VARCHAR,
    scenario VARCHAR, seed BIGINT, num_agents INTEGER, max_timesteps INTEGER, llm VARCHAR, prompt_algo VARCHAR,
    planner_type VARCHAR, worker_type VARCHAR, economy VARCHAR, welfare VARCHAR, config JSON, code_version VARCHAR,
    parent_run_id INTEGER, fork_year INTEGER);

-- One row a worker. wage: dollars an hour. asked: whether a language model decides for it.
CREATE TABLE IF NOT EXISTS agents(
    run_id INTEGER, agent INTEGER, wage DOUBLE, income_at_40_hours DOUBLE, utility_type VARCHAR, asked BOOLEAN,
    occupation VARCHAR, sex VARCHAR, age INTEGER, persona VARCHAR USING COMPRESSION zstd);

-- One row a year, written last in the year's transaction: it marks the year as whole.
-- welfare: the run's objective as played; welfare_best_response: the same schedule if every worker best-responded.
-- welfare_start, welfare_oracle: the same for 50 percent in every bracket and for the best schedule (ORACLE) on the
-- brackets of the run, with the people and the objective of that year; NULL in years of older versions until `eval`.
-- paper_idle_share: the share of swf_paper that workers without income carry.
CREATE TABLE IF NOT EXISTS years(
    run_id INTEGER, year INTEGER, thresholds DOUBLE[], rates DOUBLE[], revenue DOUBLE, rebate DOUBLE, welfare DOUBLE,
    welfare_best_response DOUBLE, inverse_income DOUBLE, swf_paper DOUBLE, utilitarian DOUBLE, rawlsian DOUBLE,
    atkinson DOUBLE, equality_productivity DOUBLE, paper_idle_share DOUBLE, gini DOUBLE, gini_income DOUBLE,
    mean_labor DOUBLE, mean_income DOUBLE, leader INTEGER, rate_changes INTEGER[], planner_fallback BOOLEAN,
    planner_call_id BIGINT, welfare_start DOUBLE, welfare_oracle DOUBLE, PRIMARY KEY(run_id, year));

-- One row a worker and year. utility: isoelastic, in dollars a year; adjusted_utility: after dissatisfaction;
-- best_utility: the most the worker could have had with this schedule and rebate; regret: best_utility - utility.
-- objective: what the worker's utility type makes it want, in its unit. fallback: no usable reply, previous hours.
-- call_id: the labor call that was used.
CREATE TABLE IF NOT EXISTS decisions(
    run_id INTEGER, year INTEGER, agent INTEGER, labor DOUBLE, income DOUBLE, tax DOUBLE, rebate DOUBLE, utility DOUBLE,
    adjusted_utility DOUBLE, best_labor DOUBLE, best_utility DOUBLE, regret DOUBLE, objective DOUBLE,
    satisfied BOOLEAN, fallback BOOLEAN, call_id BIGINT);

-- One row a ballot cast or withheld: candidate is NULL for an abstention.
CREATE TABLE IF NOT EXISTS votes(
    run_id INTEGER, year INTEGER, voter INTEGER, candidate INTEGER, fallback BOOLEAN, call_id BIGINT);

-- One row a candidate and election. rate_changes: percentage points by bracket, NULL without a platform.
CREATE TABLE IF NOT EXISTS platforms(
    run_id INTEGER, year INTEGER, candidate INTEGER, rate_changes INTEGER[], elected BOOLEAN, call_id BIGINT);

-- One row an attempt at a model, failures included. agent is NULL for the planner; personas belong to year 0.
-- status: ok, parse_error, or the kind of failure. prompt: as sent, system part first; response: as received.
-- request_key: a hash of model, messages and settings; a reply is only used again for the same one.
CREATE TABLE IF NOT EXISTS lm_calls(
    call_id BIGINT, run_id INTEGER, request_key VARCHAR, year INTEGER, agent INTEGER, role VARCHAR, signature VARCHAR, strategy VARCHAR,
    program VARCHAR, model VARCHAR, temperature DOUBLE, sampling_seed BIGINT, prompt VARCHAR USING COMPRESSION zstd,
    response VARCHAR USING COMPRESSION zstd, parsed JSON, status VARCHAR, error VARCHAR, attempt INTEGER,
    prompt_tokens INTEGER, completion_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER,
    cost_usd DOUBLE, latency_ms DOUBLE, started_at TIMESTAMP);

-- Personas by the model, strategy and seed that wrote them, for later runs to use again.
CREATE TABLE IF NOT EXISTS personas(
    model VARCHAR, strategy VARCHAR, seed BIGINT, agent INTEGER, occupation VARCHAR, sex VARCHAR, age INTEGER,
    wage DOUBLE, persona VARCHAR USING COMPRESSION zstd);

-- Programs that runs used: each role's strategy and, where one was loaded, its saved state.
CREATE TABLE IF NOT EXISTS programs(
    run_id INTEGER, role VARCHAR, strategy VARCHAR, program VARCHAR, state JSON);

-- Trials of prompt optimizers.
CREATE TABLE IF NOT EXISTS optimizer_trials(
    study VARCHAR, trial INTEGER, role VARCHAR, optimizer VARCHAR, metric VARCHAR, prompt VARCHAR USING COMPRESSION zstd,
    score DOUBLE, created_at TIMESTAMP);

-- Scores of runs and programs.
CREATE TABLE IF NOT EXISTS evaluations(
    run_id INTEGER, subject VARCHAR, metric VARCHAR, score DOUBLE, feedback VARCHAR, created_at TIMESTAMP);
