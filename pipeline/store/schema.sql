-- The trace store. One file holds many runs; (run_id, year, agent) joins calls, decisions and outcomes.
-- Money is US dollars a year, labor hours a week, rates percent, times UTC.

-- What this file is, and which version of this schema it has.
CREATE TABLE IF NOT EXISTS meta(key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);

-- One row a run. status: running, finished, failed, interrupted, stopped (by a cap). code_version: the version and a hash
-- of the code that decides what comes of a run. parent_run_id, fork_year: a fork shares its parent's years before fork_year.
CREATE TABLE IF NOT EXISTS runs(
    run_id INTEGER PRIMARY KEY, name VARCHAR, created_at TIMESTAMP, finished_at TIMESTAMP, status VARCHAR, error VARCHAR,
    scenario VARCHAR, seed BIGINT, num_agents INTEGER, max_timesteps INTEGER, llm VARCHAR, prompt_algo VARCHAR,
    planner_type VARCHAR, worker_type VARCHAR, economy VARCHAR, welfare VARCHAR, config JSON, code_version VARCHAR,
    parent_run_id INTEGER, fork_year INTEGER);

-- One row a worker. wage: dollars an hour, before any shock. asked: whether a language model decides for it.
CREATE TABLE IF NOT EXISTS agents(
    run_id INTEGER, agent INTEGER, wage DOUBLE, income_at_40_hours DOUBLE, utility_type VARCHAR, asked BOOLEAN,
    occupation VARCHAR, sex VARCHAR, age INTEGER, persona VARCHAR USING COMPRESSION zstd);

-- One row a year, written last in the year's transaction: it marks the year as whole.
-- welfare: the run's objective as played; welfare_best_response: the same schedule if every worker best-responded.
-- Both, and every welfare function but swf_paper, in dollars a head: what, given to all alike, would be worth as much.
-- welfare_start, welfare_oracle_grid, welfare_oracle: the same for 50 percent in every bracket, for the best schedule
-- in ten-point steps, and for the best one at any rates (ORACLE), on the brackets of the run, with the people and the
-- objective of that year. All yardsticks, here and in decisions, are NULL in years of older versions until `eval`.
-- paper_idle_share: the share of swf_paper that workers without income carry.
-- rebate: revenue / num_agents + windfall. windfall: to each from outside (below 0: to outside), NULL without a shock.
-- rates_beneath: the rates that return when a shock that lies over them ends; NULL where none does.
CREATE TABLE IF NOT EXISTS years(
    run_id INTEGER, year INTEGER, thresholds DOUBLE[], rates DOUBLE[], revenue DOUBLE, rebate DOUBLE, welfare DOUBLE,
    welfare_best_response DOUBLE, inverse_income DOUBLE, swf_paper DOUBLE, utilitarian DOUBLE, rawlsian DOUBLE,
    atkinson DOUBLE, equality_productivity DOUBLE, paper_idle_share DOUBLE, gini DOUBLE, gini_income DOUBLE,
    mean_labor DOUBLE, mean_income DOUBLE, leader INTEGER, rate_changes INTEGER[], planner_fallback BOOLEAN,
    planner_call_id BIGINT, windfall DOUBLE, rates_beneath DOUBLE[], welfare_start DOUBLE, welfare_oracle DOUBLE,
    welfare_oracle_grid DOUBLE,
    PRIMARY KEY(run_id, year));

-- One row a worker and year. utility: isoelastic, in dollars a year; adjusted_utility: after dissatisfaction;
-- best_utility: the most the worker could have had with this schedule and the others' taxes; regret: best_utility - utility.
-- best_labor, best_utility, regret: NULL in years of older versions until `eval`.
-- objective: what the worker's utility type makes it want, in its unit. fallback: no usable reply, previous hours.
-- call_id: the labor call that was used. shocked_wage: in force where a shock changed that of agents, else NULL.
-- archetype: the worker whose wage and record that call told, with --archetypes; NULL where all speak for themselves.
CREATE TABLE IF NOT EXISTS decisions(
    run_id INTEGER, year INTEGER, agent INTEGER, labor DOUBLE, income DOUBLE, tax DOUBLE, rebate DOUBLE, utility DOUBLE,
    adjusted_utility DOUBLE, best_labor DOUBLE, best_utility DOUBLE, regret DOUBLE, objective DOUBLE,
    satisfied BOOLEAN, fallback BOOLEAN, call_id BIGINT, shocked_wage DOUBLE,
    archetype INTEGER);

-- One row a shock, in the year in which it begins. last_year: NULL where it does not end. shock: as it was given.
-- target: wages, rates or rebate. workers: how many it hits.
CREATE TABLE IF NOT EXISTS shocks(
    run_id INTEGER, year INTEGER, last_year INTEGER, shock VARCHAR, target VARCHAR, workers INTEGER);

-- One row a ballot cast or withheld: candidate is the one named, the best ranked or the first approved of, NULL for an
-- abstention. ballot: all candidates on it, in the order given; empty for an abstention. No rows where a rule asks nobody.
CREATE TABLE IF NOT EXISTS votes(
    run_id INTEGER, year INTEGER, voter INTEGER, candidate INTEGER, fallback BOOLEAN, call_id BIGINT, ballot INTEGER[]);

-- One row a candidate and election. rate_changes: percentage points by bracket, NULL without a platform.
CREATE TABLE IF NOT EXISTS platforms(
    run_id INTEGER, year INTEGER, candidate INTEGER, rate_changes INTEGER[], elected BOOLEAN, call_id BIGINT);

-- One row an attempt at a model, failures included. agent is NULL for the planner; personas belong to year 0.
-- status: ok, parse_error, or the kind of failure. prompt: as sent, system part first; response: as received, after thoughts
-- that came apart from it, as <think>; of a refusal its words.
-- request_key: a hash of model, messages and settings; a reply is only used again for the same one.
-- choice: which of the samples that one request asked for it is, from 0, NULL where it was asked for alone; the prompt's
-- tokens are those of choice 0, the others have 0.
-- finish_reason: why the reply ended: stop, length (cut off at the token limit), content_filter, tool_call, error (the
-- server broke it off), or refusal where the model says that it will not; NULL where nothing came, and in older rows.
-- study: the study that asked, if it was none of a run: run_id, year and agent are NULL then, and call_id is negative.
CREATE TABLE IF NOT EXISTS lm_calls(
    call_id BIGINT, run_id INTEGER, request_key VARCHAR, year INTEGER, agent INTEGER, role VARCHAR, signature VARCHAR, strategy VARCHAR,
    program VARCHAR, model VARCHAR, temperature DOUBLE, sampling_seed BIGINT, prompt VARCHAR USING COMPRESSION zstd,
    response VARCHAR USING COMPRESSION zstd, parsed JSON, status VARCHAR, error VARCHAR, attempt INTEGER,
    prompt_tokens INTEGER, completion_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER,
    cost_usd DOUBLE, latency_ms DOUBLE, started_at TIMESTAMP, study VARCHAR, choice INTEGER, finish_reason VARCHAR);

-- Personas by the model, strategy (with the hash of a saved program) and seed that wrote them, for later runs to use again.
CREATE TABLE IF NOT EXISTS personas(
    model VARCHAR, strategy VARCHAR, seed BIGINT, agent INTEGER, occupation VARCHAR, sex VARCHAR, age INTEGER,
    wage DOUBLE, persona VARCHAR USING COMPRESSION zstd);

-- Programs that runs used: each role's strategy and, where one was loaded, its saved state.
CREATE TABLE IF NOT EXISTS programs(
    run_id INTEGER, role VARCHAR, strategy VARCHAR, program VARCHAR, state JSON);

-- One row a study: an optimization of the program that answers one question of a role, or one that was cut off. A validity
-- card is one, too (metric: validity): role, question and optimizer are NULL then, strategy has that of each role as JSON.
-- status: running, finished, failed, interrupted, stopped (by its budget; the best program so far was kept).
-- data_hash: of the examples; config: the settings of the economies that they are from; budget: calls at most.
-- trials, calls, cost_usd: what it took in all. dev_*, test_*: mean scores before and after, 0 to 1; test_low, test_high:
-- 95 % interval of the mean difference on the test examples. program: the file that was written.
CREATE TABLE IF NOT EXISTS studies(
    study VARCHAR, created_at TIMESTAMP, finished_at TIMESTAMP, status VARCHAR, error VARCHAR, role VARCHAR,
    question VARCHAR, optimizer VARCHAR, metric VARCHAR, welfare VARCHAR, strategy VARCHAR, adapter VARCHAR,
    llm VARCHAR, teacher_llm VARCHAR, reflection_llm VARCHAR, seed BIGINT, data_hash VARCHAR, config JSON,
    code_version VARCHAR, budget BIGINT, trials INTEGER, calls BIGINT, cost_usd DOUBLE, dev_before DOUBLE,
    dev_after DOUBLE, test_before DOUBLE, test_after DOUBLE, test_low DOUBLE, test_high DOUBLE, program VARCHAR);

-- Trials of prompt optimizers: every candidate that was judged, and on what. split: dev, train (a part of it: examples
-- tells how many) or test. prompt: what a model is shown before the question; program: instructions and demonstrations
-- by predictor. score: mean of scores, 0 to 1. unanswered: examples without a usable answer; unparsed: replies that had
-- to be asked for again. calls, cost_usd: what judging took, replies that were used again included.
CREATE TABLE IF NOT EXISTS optimizer_trials(
    study VARCHAR, trial INTEGER, role VARCHAR, optimizer VARCHAR, metric VARCHAR, prompt VARCHAR USING COMPRESSION zstd,
    score DOUBLE, created_at TIMESTAMP, strategy VARCHAR, adapter VARCHAR, split VARCHAR, examples INTEGER,
    scores DOUBLE[], unanswered INTEGER, unparsed INTEGER, calls INTEGER, cost_usd DOUBLE,
    program JSON USING COMPRESSION zstd);

-- Scores of runs, programs and models. study: what they were made for; a comparison has the same name whenever it is made
-- again. subject validity: scores of a validity card (metric: the check, or the question whose replies were read; arm: the
-- model and how it was asked; runs: the questions that were put; feedback: what came out).
-- subject: run, law (nothing was played: every worker best-responds), arm (score: the mean over its `runs`) or difference
-- (score: the mean over `runs` pairs of runs with the same seed, of an arm to the reference). low, high: 95 % interval of
-- the score. p: of the test that excludes 0 exactly where the interval does; p_holm: corrected over all arms of the study,
-- for its primary outcome alone. detectable: the true difference that so many pairs find 4 times of 5. own_METRIC: by the
-- arm's own objective, where arms differ in it.
-- schema_version: of the program that wrote the score; NULL where that is 1, whose inverse_income is a sum and whose
-- yardsticks are others: not to be compared with later ones.
CREATE TABLE IF NOT EXISTS evaluations(
    run_id INTEGER, subject VARCHAR, metric VARCHAR, score DOUBLE, feedback VARCHAR, created_at TIMESTAMP,
    study VARCHAR, arm VARCHAR, reference VARCHAR, seed BIGINT, runs INTEGER, low DOUBLE, high DOUBLE, p DOUBLE,
    p_holm DOUBLE, detectable DOUBLE, schema_version INTEGER);
