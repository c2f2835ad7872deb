-- Views for people: the questions asked most, with the joins already made. Filters on run_id and year reach the tables.
-- Units as in the tables: money in US dollars a year, labor in hours a week, rates in percent, times in UTC.

-- welfare_by_year: one row a run and year: the law of the year and what came of it.
--   run_id                  run
--   year                    year of the run, from 0
--   tax_year                tax year of the run: how often rates have been set so far; 0 before the first time
--   year_of_tax_year        years since rates were last set, from 0
--   thresholds              income above which each bracket begins, dollars a year
--   rates                   marginal tax rate of each bracket, percent
--   rate_changes            change that was decided this year, percentage points by bracket; NULL where none was due
--   planner_fallback        whether that decision was missing, so that rates stayed
--   leader                  agent that governs; NULL without elections
--   welfare                 the run's objective, as played, dollars a head (paper: a pure number)
--   welfare_best_response   the same schedule if every worker best-responded, in the same units
--   inverse_income          mean utility weighted by 1 / income at 40 hours, dollars a year
--   swf_paper               sum of utility over income, a pure number
--   paper_idle_share        share of swf_paper that workers without income carry, 0 to 1
--   utilitarian             mean utility, dollars a year
--   rawlsian                smallest utility, dollars a year
--   atkinson                equally distributed equivalent utility, dollars a year
--   equality_productivity   (1 - gini of utility) times mean income, dollars a year
--   gini                    inequality of income after tax and rebate, 0 to 1
--   gini_income             inequality of income before tax, 0 to 1
--   mean_labor              hours a week
--   mean_income             before tax, dollars a year
--   revenue                 taxes paid by all, dollars a year
--   rebate                  paid back to each, dollars a year
--   windfall                part of the rebate that comes from outside, dollars a year; 0 without a shock
--   rates_beneath           rates under a shock that lies over them for a time, percent; without one the same as rates
--   planner_call_id         call that decided the change
CREATE OR REPLACE VIEW welfare_by_year AS
WITH marked AS (
    SELECT *, rate_changes IS NOT NULL OR coalesce(rates <> lag(rates) OVER in_order, false) AS set_now
    FROM years WINDOW in_order AS (PARTITION BY run_id ORDER BY year))
SELECT run_id, year,
       count_if(set_now) OVER so_far AS tax_year,
       year - coalesce(max(CASE WHEN set_now THEN year END) OVER so_far, min(year) OVER so_far) AS year_of_tax_year,
       thresholds, rates, rate_changes, planner_fallback, leader, welfare, welfare_best_response, inverse_income,
       swf_paper, paper_idle_share, utilitarian, rawlsian, atkinson, equality_productivity, gini, gini_income,
       mean_labor, mean_income, revenue, rebate, coalesce(windfall, 0) AS windfall,
       coalesce(rates_beneath, rates) AS rates_beneath, planner_call_id
FROM marked
WINDOW so_far AS (PARTITION BY run_id ORDER BY year);

-- yardsticks: one row a run and year: how far the law is from the best law, and the workers from their best hours.
--   run_id                  run
--   year                    year of the run, from 0
--   rates                   marginal tax rate of each bracket, percent
--   welfare_start           the run's objective at 50 % in every bracket if every worker best-responded, in its units
--   welfare_best_response   the same for the year's schedule
--   welfare_oracle_grid     the same for the best schedule on the run's brackets in ten-point steps from 50 %
--   welfare_oracle          the same for the best schedule on the run's brackets at any rates: the optimum
--   planner_share           of the gain from welfare_start to welfare_oracle, what the year's schedule realises: 1 is ORACLE, below 0 is worse than the start; an elected leader need not want the objective; NULL where ORACLE gains less than 0.5 % of welfare_start
--   planner_share_exact     whether the planner's objective is what planner_share measures; false where dissatisfaction is part of the objective (--satisfaction objective), for best responses know no dissatisfaction
--   mean_regret             dollars a year, mean over all workers
--   equilibrium_gap         dollars a year that some worker could still gain alone, with the rebate as it is: the largest regret of those who want their own utility; NULL without any
--   gap_agent               whose regret that is
CREATE OR REPLACE VIEW yardsticks AS
WITH missed AS (
    SELECT d.run_id, d.year, avg(d.regret) AS mean_regret,
           max(d.regret) FILTER (a.utility_type = 'egotistical') AS equilibrium_gap,
           arg_max(d.agent, d.regret) FILTER (a.utility_type = 'egotistical') AS gap_agent
    FROM decisions d LEFT JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
    GROUP BY d.run_id, d.year)
SELECT y.run_id, y.year, y.rates, y.welfare_start, y.welfare_best_response, y.welfare_oracle_grid, y.welfare_oracle,
       CASE WHEN y.welfare_oracle > y.welfare_start
                 AND y.welfare_oracle - y.welfare_start >= 0.005 * abs(y.welfare_start)
            THEN (y.welfare_best_response - y.welfare_start) / (y.welfare_oracle - y.welfare_start)
       END AS planner_share,
       r.scenario = 'rational' OR coalesce(r.config ->> 'satisfaction', 'objective') = 'report' AS planner_share_exact,
       m.mean_regret, m.equilibrium_gap, m.gap_agent
FROM years y
LEFT JOIN runs r ON r.run_id = y.run_id
LEFT JOIN missed m ON m.run_id = y.run_id AND m.year = y.year;

-- panel: one row a run, year and worker: who it is, what it decided, what came of it, and which call decided it.
--   run_id                  run
--   year                    year of the run, from 0
--   agent                   worker, from 0
--   wage                    dollars an hour, as in force in that year
--   income_at_40_hours      dollars a year, at that wage
--   utility_type            egotistical, altruistic or adversarial
--   occupation              census occupation; NULL without personas
--   sex                     female or male; NULL without personas
--   age                     years; NULL without personas
--   persona                 who the worker was told to be; NULL without personas
--   labor                   hours a week
--   income                  before tax, dollars a year
--   tax                     dollars a year
--   rebate                  dollars a year, the same for all
--   posttax                 income - tax + rebate, dollars a year
--   utility                 isoelastic utility, dollars a year
--   adjusted_utility        utility after dissatisfaction, dollars a year
--   best_labor              hours a week that would have been best
--   best_utility            utility of those hours, dollars a year
--   regret                  best_utility - utility, dollars a year
--   objective               what the worker's utility type got of what it wants, dollars a year or units of welfare
--   satisfied               verdict on the tax policy; NULL where nobody was asked or no answer could be used
--   fallback                whether no reply could be used, so that hours stayed
--   call_id                 call that decided the hours; NULL where no model was asked
CREATE OR REPLACE VIEW panel AS
SELECT d.run_id, d.year, d.agent, coalesce(d.shocked_wage, a.wage) AS wage,
       coalesce(d.shocked_wage * 40 * 52, a.income_at_40_hours) AS income_at_40_hours, a.utility_type, a.occupation, a.sex,
       a.age, a.persona, d.labor, d.income, d.tax, d.rebate, d.income - d.tax + d.rebate AS posttax, d.utility, d.adjusted_utility,
       d.best_labor, d.best_utility, d.regret, d.objective, d.satisfied, d.fallback, d.call_id
FROM decisions d LEFT JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent;

-- calls: one row an attempt at a model, with prompt and reply as plain text.
--   call_id                 call; grows with year, question, agent and attempt; negative in a study; interviews have the last ones
--   run_id                  run; NULL in a study
--   year                    year of the run, from 0; personas are written in year 0
--   agent                   worker that was asked; NULL for the planner
--   role                    worker, voter, planner or persona; preflight, interview, or optimizer
--   signature               what was asked, e.g. ChooseLabor
--   strategy                how it was asked, e.g. cot
--   program                 file of a saved program; NULL without one
--   model                   language model
--   status                  ok, parse_error, or the kind of failure
--   error                   what went wrong; NULL for ok
--   attempt                 number of the attempt at this question, from 0
--   temperature             of sampling
--   sampling_seed           seed sent to the model
--   prompt                  whole prompt as sent, system part first
--   response                whole reply as received; NULL where none came
--   parsed                  fields of the reply as JSON; NULL where it could not be parsed
--   prompt_tokens           tokens
--   completion_tokens       tokens
--   cached_tokens           tokens of the prompt that the provider had cached
--   reasoning_tokens        tokens of the completion that were spent on hidden reasoning
--   cost_usd                dollars; NULL for a model without a known price
--   latency_ms              milliseconds
--   started_at              time in UTC
--   study                   study that asked (an optimization or a validity card); NULL in a run
--   choice                  which of the samples that one request asked for; NULL where it was asked for alone
--   finish_reason           why the reply ended: stop, length, content_filter, tool_call, error or refusal; NULL where none came
CREATE OR REPLACE VIEW calls AS
SELECT call_id, run_id, year, agent, role, signature, strategy, program, model, status, error, attempt, temperature,
       sampling_seed, prompt, response, parsed, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
       cost_usd, latency_ms, started_at, study, choice, finish_reason
FROM lm_calls;

-- cost_by_role: one row a run, role, signature, strategy and model: what its calls took.
--   run_id                  run
--   role                    worker, voter, planner or persona; preflight or interview
--   signature               what was asked
--   strategy                how it was asked
--   model                   language model
--   calls                   attempts
--   failed                  attempts without a usable reply
--   prompt_tokens           tokens
--   completion_tokens       tokens
--   cached_tokens           tokens of the prompts that the provider had cached
--   reasoning_tokens        tokens of the completions that were spent on hidden reasoning
--   tokens_per_call         prompt and completion tokens over attempts
--   cost_usd                dollars; NULL where no call has a known price
--   mean_latency_ms         milliseconds
--   p95_latency_ms          milliseconds, approximate: 95 % of the attempts took at most this
CREATE OR REPLACE VIEW cost_by_role AS
SELECT run_id, role, signature, strategy, model, count(*) AS calls, count_if(status <> 'ok')::BIGINT AS failed,
       sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
       sum(cached_tokens)::BIGINT AS cached_tokens, sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
       (coalesce(sum(prompt_tokens), 0) + coalesce(sum(completion_tokens), 0)) / count(*) AS tokens_per_call,
       sum(cost_usd) AS cost_usd, avg(latency_ms) AS mean_latency_ms,
       approx_quantile(latency_ms, 0.95) AS p95_latency_ms
FROM lm_calls
WHERE run_id IS NOT NULL
GROUP BY ALL;

-- failures: one row an attempt without a usable reply.
--   call_id                 call
--   run_id                  run
--   year                    year of the run, from 0
--   agent                   worker that was asked; NULL for the planner
--   role                    worker, voter, planner or persona; preflight or interview
--   signature               what was asked
--   strategy                how it was asked
--   program                 file of a saved program; NULL without one
--   model                   language model
--   status                  parse_error, or the kind of failure
--   error                   what went wrong
--   attempt                 number of the attempt at this question, from 0
--   prompt                  whole prompt as sent
--   response                whole reply as received; NULL where none came
--   finish_reason           why the reply ended; NULL where none came
--   latency_ms              milliseconds
--   started_at              time in UTC
CREATE OR REPLACE VIEW failures AS
SELECT call_id, run_id, year, agent, role, signature, strategy, program, model, status, error, attempt, prompt,
       response, finish_reason, latency_ms, started_at
FROM lm_calls
WHERE status <> 'ok' AND run_id IS NOT NULL;

-- elections: one row a run, election and candidate.
--   run_id                  run
--   year                    year of the election, from 0
--   candidate               agent that stood
--   wage                    the candidate's, dollars an hour
--   occupation              the candidate's
--   votes                   ballots that name the candidate first
--   vote_share              of the ballots that name anybody, 0 to 1; NULL where there were none
--   named                   ballots that name the candidate at all: approvals, where a ballot is a set
--   voters                  who could vote; NULL where nobody is asked
--   abstentions             of them, without a vote
--   elected                 whether the candidate won: false for an incumbent who governs on because no ballot names a candidate
--   platform                what the candidate stood for, percentage points by bracket; NULL without platforms
--   enacted                 what was done after the election, percentage points by bracket
--   call_id                 call that stood for office; NULL without platforms
CREATE OR REPLACE VIEW elections AS
WITH polled AS (
    SELECT run_id, year, candidate, count(*) AS votes,
           sum(count(*)) OVER election AS voters, sum(count(candidate)) OVER election AS cast_votes
    FROM votes
    GROUP BY run_id, year, candidate
    WINDOW election AS (PARTITION BY run_id, year)),
turnout AS (
    SELECT run_id, year, any_value(voters) AS voters, any_value(cast_votes) AS cast_votes
    FROM polled
    GROUP BY run_id, year),
named AS (
    SELECT run_id, year, candidate, count(*) AS named
    FROM (SELECT run_id, year, unnest(coalesce(ballot, [candidate])) AS candidate FROM votes)
    GROUP BY run_id, year, candidate)
SELECT p.run_id, p.year, p.candidate, a.wage, a.occupation, coalesce(v.votes, 0) AS votes,
       coalesce(v.votes, 0) / nullif(t.cast_votes, 0)::DOUBLE AS vote_share, coalesce(n.named, 0) AS named,
       t.voters::BIGINT AS voters,
       (t.voters - t.cast_votes)::BIGINT AS abstentions,
       p.elected AND (t.voters IS NULL OR t.cast_votes > 0) AS elected, p.rate_changes AS platform,
       y.rate_changes AS enacted, p.call_id
FROM platforms p
LEFT JOIN polled v ON v.run_id = p.run_id AND v.year = p.year AND v.candidate = p.candidate
LEFT JOIN turnout t ON t.run_id = p.run_id AND t.year = p.year
LEFT JOIN named n ON n.run_id = p.run_id AND n.year = p.year AND n.candidate = p.candidate
LEFT JOIN years y ON y.run_id = p.run_id AND y.year = p.year
LEFT JOIN agents a ON a.run_id = p.run_id AND a.agent = p.candidate;

-- prompt_versions: one row a run, signature, strategy, program, model and system prompt: which words, which outcomes.
--   run_id                  run
--   role                    worker, voter, planner or persona; preflight or interview
--   signature               what was asked
--   strategy                how it was asked
--   program                 file of a saved program; NULL without one
--   model                   language model
--   prompt_hash             first 12 hex digits of the MD5 of the system prompt: the same text has the same hash
--   calls                   attempts
--   parse_failure_rate      share of the attempts whose reply could not be parsed, 0 to 1
--   failure_rate            share of the attempts without a usable reply, for any reason, 0 to 1
--   mean_prompt_tokens      tokens of the whole prompt
--   decisions               decisions on hours that the calls led to, in the same run
--   mean_regret             of those decisions, dollars a year
--   example_call_id         first call with it
--   system_prompt           text
CREATE OR REPLACE VIEW prompt_versions AS
WITH asked AS (
    SELECT run_id, role, signature, strategy, program, model, call_id, status, prompt_tokens,
           split_part(prompt, E'### user\n', 1) AS system_prompt
    FROM lm_calls
    WHERE run_id IS NOT NULL),
versions AS (
    SELECT run_id, role, signature, strategy, program, model, hash(system_prompt) AS version, count(*) AS calls,
           count_if(status = 'parse_error') / count(*) AS parse_failure_rate,
           count_if(status <> 'ok') / count(*) AS failure_rate, avg(prompt_tokens) AS mean_prompt_tokens,
           min(call_id) AS example_call_id, list(call_id) AS call_ids, any_value(system_prompt) AS system_prompt
    FROM asked
    GROUP BY ALL),
led_to AS (
    SELECT c.run_id, c.signature, c.strategy, c.example_call_id, count(*) AS decisions, avg(d.regret) AS mean_regret
    FROM (SELECT run_id, signature, strategy, example_call_id, unnest(call_ids) AS call_id FROM versions) c
    JOIN decisions d ON d.run_id = c.run_id AND d.call_id = c.call_id
    GROUP BY ALL)
SELECT v.run_id, v.role, v.signature, v.strategy, v.program, v.model,
       left(md5(rtrim(v.system_prompt, E'\n')), 12) AS prompt_hash, v.calls, v.parse_failure_rate, v.failure_rate,
       v.mean_prompt_tokens, coalesce(o.decisions, 0) AS decisions, o.mean_regret, v.example_call_id,
       rtrim(v.system_prompt, E'\n') AS system_prompt
FROM versions v
LEFT JOIN led_to o ON o.run_id = v.run_id AND o.signature = v.signature AND o.strategy = v.strategy
     AND o.example_call_id = v.example_call_id;

-- run_summary: one row a run: what it was, how it went, what it cost.
--   run_id                  run
--   name                    of the run
--   status                  running, finished, failed, interrupted or stopped
--   scenario                rational, bounded or democratic
--   llm                     language model
--   prompt_algo             strategy of the roles without one of their own
--   planner_type            who sets rates
--   worker_type             who decides hours
--   seed                    of the run
--   num_agents              workers
--   max_timesteps           years to play
--   economy                 weekly or v1
--   objective               welfare function that the planner is judged by
--   years_played            years
--   first_welfare           the objective in the first year, dollars a head (paper: a pure number)
--   last_welfare            the objective in the last year played
--   mean_welfare            the objective, mean over the years
--   last_welfare_best_response   the last year's schedule if every worker best-responded
--   last_rates              marginal rates in the last year, percent
--   mean_labor              hours a week, mean over workers and years
--   mean_regret             dollars a year, mean over decisions
--   satisfied_share         of the verdicts on the tax policy, 0 to 1; NULL where nobody was asked
--   fallbacks               decisions without a usable reply
--   calls                   attempts at a model; interviews are none of the run
--   failed_calls            of them without a usable reply
--   prompt_tokens           tokens
--   completion_tokens       tokens
--   cost_usd                dollars; NULL where no call has a known price
--   call_seconds            seconds spent waiting in calls, added up over calls
--   wall_seconds            seconds from start to end; NULL while running
--   created_at              time in UTC
--   finished_at             time in UTC
--   parent_run_id           run that this one is a fork of; NULL for others
--   fork_year               first year that the fork does not share with its parent; NULL for others
CREATE OR REPLACE VIEW run_summary AS
WITH played AS (
    SELECT run_id, count(*) AS years_played, arg_min(welfare, year) AS first_welfare,
           arg_max(welfare, year) AS last_welfare, avg(welfare) AS mean_welfare,
           arg_max(welfare_best_response, year) AS last_welfare_best_response, arg_max(rates, year) AS last_rates,
           avg(mean_labor) AS mean_labor
    FROM years
    GROUP BY run_id),
decided AS (
    SELECT run_id, avg(regret) AS mean_regret, avg(satisfied::INTEGER) AS satisfied_share,
           count_if(fallback)::BIGINT AS fallbacks
    FROM decisions
    GROUP BY run_id),
asked AS (
    SELECT run_id, count(*) AS calls, count_if(status <> 'ok')::BIGINT AS failed_calls,
           sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
           sum(cost_usd) AS cost_usd, sum(latency_ms) / 1000 AS call_seconds
    FROM lm_calls
    WHERE role <> 'interview'
    GROUP BY run_id)
SELECT r.run_id, r.name, r.status, r.scenario, r.llm, r.prompt_algo, r.planner_type, r.worker_type, r.seed,
       r.num_agents, r.max_timesteps, r.economy, r.welfare AS objective, coalesce(p.years_played, 0) AS years_played,
       p.first_welfare, p.last_welfare, p.mean_welfare, p.last_welfare_best_response, p.last_rates, p.mean_labor,
       d.mean_regret, d.satisfied_share, coalesce(d.fallbacks, 0) AS fallbacks, coalesce(c.calls, 0) AS calls,
       coalesce(c.failed_calls, 0) AS failed_calls, coalesce(c.prompt_tokens, 0) AS prompt_tokens,
       coalesce(c.completion_tokens, 0) AS completion_tokens, c.cost_usd, c.call_seconds,
       epoch(r.finished_at - r.created_at) AS wall_seconds, r.created_at, r.finished_at,
       r.parent_run_id, r.fork_year
FROM runs r
LEFT JOIN played p ON p.run_id = r.run_id
LEFT JOIN decided d ON d.run_id = r.run_id
LEFT JOIN asked c ON c.run_id = r.run_id;
