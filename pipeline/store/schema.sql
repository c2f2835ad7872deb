-- The trace store. One file holds many runs; join calls, decisions and outcomes on (run_id, year, agent).
-- Money is in US dollars a year, labor in hours a week, rates in percent, times in UTC.

-- Metadata: the owner of the file and its schema version.
CREATE TABLE IF NOT EXISTS meta(key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);

-- One row per run. status: running, finished, failed, interrupted, or stopped (by a cap). code_version: the program's
-- version and a hash of the code that determines the results. parent_run_id, fork_year: a fork shares its parent's years
-- before fork_year.
CREATE TABLE IF NOT EXISTS runs(
    run_id INTEGER PRIMARY KEY, name VARCHAR, created_at TIMESTAMP, finished_at TIMESTAMP, status VARCHAR, error VARCHAR,
    scenario VARCHAR, seed BIGINT, num_agents INTEGER, max_timesteps INTEGER, llm VARCHAR, prompt_algo VARCHAR,
    planner_type VARCHAR, worker_type VARCHAR, economy VARCHAR, welfare VARCHAR, config JSON, code_version VARCHAR,
    parent_run_id INTEGER, fork_year INTEGER);

-- One row per worker. wage: dollars an hour, before any shock. asked: whether a language model decides for the worker.
-- taste: the worker's own factor on the cost of effort, with --taste-spread or --economy calibrated; elasticity: its own
-- elasticity of hours, with --elasticity-of-labor. NULL if all have the same. participation_cost: what the worker loses if
-- it works at all, in dollars a year, with --participation-cost; NULL without.
CREATE TABLE IF NOT EXISTS agents(
    run_id INTEGER, agent INTEGER, wage DOUBLE, income_at_40_hours DOUBLE, utility_type VARCHAR, asked BOOLEAN,
    occupation VARCHAR, sex VARCHAR, age INTEGER, persona VARCHAR USING COMPRESSION zstd, taste DOUBLE, elasticity DOUBLE,
    participation_cost DOUBLE);

-- One row per year, written last in the year's transaction, so that it marks the year as complete.
-- welfare: the run's objective as played. welfare_best_response: the objective under the same schedule if every worker
-- best-responds. Both, and every welfare function except swf_paper, are in dollars per person: the equally distributed
-- equivalent. welfare_start, welfare_oracle_grid, welfare_oracle: the objective under best responses to 50 percent in
-- every bracket, to the best schedule in ten-point steps, and to the best schedule at any rates (ORACLE), on the run's
-- brackets, with the population and the objective of that year. All benchmarks, here and in decisions, are NULL in years
-- that an older version wrote, until `eval` computes them.
-- paper_idle_share: the share of swf_paper that comes from workers without income.
-- rebate: revenue / num_agents + windfall. windfall: paid to each worker from outside (negative: to the outside); NULL
-- without a shock. rates_beneath: the rates that return when a temporary shock to rates ends; NULL without one.
CREATE TABLE IF NOT EXISTS years(
    run_id INTEGER, year INTEGER, thresholds DOUBLE[], rates DOUBLE[], revenue DOUBLE, rebate DOUBLE, welfare DOUBLE,
    welfare_best_response DOUBLE, inverse_income DOUBLE, swf_paper DOUBLE, utilitarian DOUBLE, rawlsian DOUBLE,
    atkinson DOUBLE, equality_productivity DOUBLE, paper_idle_share DOUBLE, gini DOUBLE, gini_income DOUBLE,
    mean_labor DOUBLE, mean_income DOUBLE, leader INTEGER, rate_changes INTEGER[], planner_fallback BOOLEAN,
    planner_call_id BIGINT, windfall DOUBLE, rates_beneath DOUBLE[], welfare_start DOUBLE, welfare_oracle DOUBLE,
    welfare_oracle_grid DOUBLE,
    PRIMARY KEY(run_id, year));

-- One row per worker and year. utility: isoelastic, in dollars a year. adjusted_utility: utility after dissatisfaction.
-- best_utility: the highest utility that the worker could have reached under this schedule, given the others' taxes.
-- regret: best_utility - utility. best_labor, best_utility, regret: NULL in years that an older version wrote, until
-- `eval` computes them. objective: the value of what the worker's utility type maximizes, in its own unit. fallback: no
-- usable reply, so the previous hours stayed. call_id: the call that decided the hours. shocked_wage: the wage in force
-- where a shock changed it, else NULL. archetype: the worker whose wage and record that call showed, with --archetypes;
-- NULL without archetypes.
CREATE TABLE IF NOT EXISTS decisions(
    run_id INTEGER, year INTEGER, agent INTEGER, labor DOUBLE, income DOUBLE, tax DOUBLE, rebate DOUBLE, utility DOUBLE,
    adjusted_utility DOUBLE, best_labor DOUBLE, best_utility DOUBLE, regret DOUBLE, objective DOUBLE,
    satisfied BOOLEAN, fallback BOOLEAN, call_id BIGINT, shocked_wage DOUBLE,
    archetype INTEGER);

-- One row per shock, in the year in which it begins. last_year: NULL for a permanent shock. shock: its text.
-- target: wages, rates or rebate. workers: the number of workers that it hits.
CREATE TABLE IF NOT EXISTS shocks(
    run_id INTEGER, year INTEGER, last_year INTEGER, shock VARCHAR, target VARCHAR, workers INTEGER);

-- One row per voter and election. candidate: the one chosen, ranked first, or the first approved of; NULL for an abstention.
-- ballot: all candidates on the ballot, in order; empty for an abstention. There are no rows for a rule without a vote.
CREATE TABLE IF NOT EXISTS votes(
    run_id INTEGER, year INTEGER, voter INTEGER, candidate INTEGER, fallback BOOLEAN, call_id BIGINT, ballot INTEGER[]);

-- One row per candidate and election. rate_changes: percentage points by bracket, NULL without a platform.
CREATE TABLE IF NOT EXISTS platforms(
    run_id INTEGER, year INTEGER, candidate INTEGER, rate_changes INTEGER[], elected BOOLEAN, call_id BIGINT);

-- One row per attempt at a model call, including failures. agent: NULL for the planner. Personas belong to year 0.
-- status: ok, parse_error, or the kind of failure. prompt: as sent, system part first. response: as received; reasoning
-- that the server returned separately precedes it as <think>; for a refusal, its text.
-- request_key: a hash of model, messages and settings; a reply is reused only for the same request.
-- choice: the index, from 0, of the sample if one request asked for several, NULL if it asked for one; the prompt's
-- tokens are counted for choice 0, the others have 0.
-- finish_reason: why the reply ended: stop, length (cut off at the token limit), content_filter, tool_call, error (the
-- server broke it off), or refusal (the model declined); NULL without a reply, and in older rows.
-- study: the study that made the call; NULL in a run. For a study, run_id, year and agent are NULL and call_id is negative.
CREATE TABLE IF NOT EXISTS lm_calls(
    call_id BIGINT, run_id INTEGER, request_key VARCHAR, year INTEGER, agent INTEGER, role VARCHAR, signature VARCHAR, strategy VARCHAR,
    program VARCHAR, model VARCHAR, temperature DOUBLE, sampling_seed BIGINT, prompt VARCHAR USING COMPRESSION zstd,
    response VARCHAR USING COMPRESSION zstd, parsed JSON, status VARCHAR, error VARCHAR, attempt INTEGER,
    prompt_tokens INTEGER, completion_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER,
    cost_usd DOUBLE, latency_ms DOUBLE, started_at TIMESTAMP, study VARCHAR, choice INTEGER, finish_reason VARCHAR);

-- One row per answer to a survey (interview --survey). survey, question: names in the survey's file; asked: the words.
-- kind: text, yes/no, choice or number. text: the answer as text; number: of a number, and 1 or 0 for yes or no.
CREATE TABLE IF NOT EXISTS survey_answers(
    run_id INTEGER, year INTEGER, agent INTEGER, survey VARCHAR, question VARCHAR, asked VARCHAR, kind VARCHAR,
    text VARCHAR, number DOUBLE, model VARCHAR, call_id BIGINT);

-- Personas by the model, strategy (with the hash of a saved program) and seed that wrote them; later runs reuse them.
CREATE TABLE IF NOT EXISTS personas(
    model VARCHAR, strategy VARCHAR, seed BIGINT, agent INTEGER, occupation VARCHAR, sex VARCHAR, age INTEGER,
    wage DOUBLE, persona VARCHAR USING COMPRESSION zstd);

-- The programs of runs: each role's strategy and, if one was loaded, its saved state.
CREATE TABLE IF NOT EXISTS programs(
    run_id INTEGER, role VARCHAR, strategy VARCHAR, program VARCHAR, state JSON);

-- One row per study: an optimization of the program that answers one question of a role, complete or interrupted, or a
-- validity card (metric: validity), for which role, question and optimizer are NULL and strategy has JSON by role.
-- status: running, finished, failed, interrupted, or stopped (by its budget; the best program so far was kept).
-- data_hash: of the examples. config: the settings of the economies that they come from. budget: the most calls.
-- trials, calls, cost_usd: totals. dev_*, test_*: mean scores before and after, 0 to 1. test_low, test_high: 95 %
-- confidence interval of the mean difference on the test examples. program: the file that was written.
CREATE TABLE IF NOT EXISTS studies(
    study VARCHAR, created_at TIMESTAMP, finished_at TIMESTAMP, status VARCHAR, error VARCHAR, role VARCHAR,
    question VARCHAR, optimizer VARCHAR, metric VARCHAR, welfare VARCHAR, strategy VARCHAR, adapter VARCHAR,
    llm VARCHAR, teacher_llm VARCHAR, reflection_llm VARCHAR, seed BIGINT, data_hash VARCHAR, config JSON,
    code_version VARCHAR, budget BIGINT, trials INTEGER, calls BIGINT, cost_usd DOUBLE, dev_before DOUBLE,
    dev_after DOUBLE, test_before DOUBLE, test_after DOUBLE, test_low DOUBLE, test_high DOUBLE, program VARCHAR);

-- Trials of prompt optimizers: every candidate that was scored, and on which examples. split: dev, train (a part of it;
-- examples gives the number) or test. prompt: what a model is shown before the question. program: instructions and
-- demonstrations by predictor. score: mean of scores, 0 to 1. unanswered: examples without a usable answer. unparsed:
-- replies that could not be parsed, so the question was asked again. calls, cost_usd: of scoring, including reused replies.
CREATE TABLE IF NOT EXISTS optimizer_trials(
    study VARCHAR, trial INTEGER, role VARCHAR, optimizer VARCHAR, metric VARCHAR, prompt VARCHAR USING COMPRESSION zstd,
    score DOUBLE, created_at TIMESTAMP, strategy VARCHAR, adapter VARCHAR, split VARCHAR, examples INTEGER,
    scores DOUBLE[], unanswered INTEGER, unparsed INTEGER, calls INTEGER, cost_usd DOUBLE,
    program JSON USING COMPRESSION zstd);

-- Scores of runs, programs and models. study: the study that they belong to; a repeated comparison has the same name.
-- subject: run; law (simulated under best responses, without a model); arm (score: the mean over its `runs`); difference
-- (score: the mean over `runs` pairs of runs with the same seed, arm minus reference); or validity: scores of a validity
-- card (metric: the check, or the question whose replies were read; arm: the model and how it was asked; runs: the number
-- of questions; feedback: the result).
-- low, high: 95 % confidence interval of the score. p: of the test that rejects 0 exactly if the interval excludes it.
-- p_holm: corrected over all arms of the study, for its primary outcome only. detectable: the true difference that this
-- number of pairs detects with probability 80 %. own_METRIC: by the arm's own objective, if arms differ in it.
-- schema_version: of the program that wrote the score; NULL means 1, whose inverse_income is a sum and whose benchmarks
-- differ, so that these scores are not comparable with later ones.
CREATE TABLE IF NOT EXISTS evaluations(
    run_id INTEGER, subject VARCHAR, metric VARCHAR, score DOUBLE, feedback VARCHAR, created_at TIMESTAMP,
    study VARCHAR, arm VARCHAR, reference VARCHAR, seed BIGINT, runs INTEGER, low DOUBLE, high DOUBLE, p DOUBLE,
    p_holm DOUBLE, detectable DOUBLE, schema_version INTEGER);
