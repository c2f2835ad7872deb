-- Views for the most frequent questions, with the joins already made. Filters on run_id and year reach the tables.
-- Units as in the tables: money in US dollars a year, labor in hours a week, rates in percent, times in UTC.

-- welfare_by_year: one row per run and year: the tax law of the year and its results.
--   run_id                  run
--   year                    year of the run, from 0
--   tax_year                tax year of the run: number of times that rates have been set so far; 0 before the first
--   year_of_tax_year        years since rates were last set, from 0
--   thresholds              income above which each bracket begins, dollars a year
--   rates                   marginal tax rate of each bracket, percent
--   rate_changes            change decided this year, percentage points by bracket; NULL if none was due
--   planner_fallback        whether there was no usable decision, so that rates stayed
--   leader                  agent that governs; NULL without elections
--   welfare                 the run's objective as played, dollars per person (paper: a pure number)
--   welfare_best_response   the objective under the same schedule if every worker best-responds, in the same unit
--   inverse_income          mean utility weighted by 1 / income at 40 hours, dollars a year
--   swf_paper               sum of utility over income, a pure number
--   paper_idle_share        share of swf_paper that comes from workers without income, 0 to 1
--   utilitarian             mean utility, dollars a year
--   rawlsian                smallest utility, dollars a year
--   atkinson                equally distributed equivalent utility, dollars a year
--   equality_productivity   (1 - gini of utility) times mean income, dollars a year
--   gini                    Gini coefficient of income after tax and rebate, 0 to 1
--   gini_income             Gini coefficient of income before tax, 0 to 1
--   mean_labor              mean hours of work a week
--   mean_income             mean income before tax, dollars a year
--   revenue                 total taxes, dollars a year
--   rebate                  rebate to each worker, dollars a year
--   windfall                part of the rebate that comes from outside the economy, dollars a year; 0 without a shock
--   rates_beneath           rates without temporary shocks, percent; the same as rates if there is none
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

-- yardsticks: one row per run and year: how far the tax law is from the optimum, and the workers from their best responses.
--   run_id                  run
--   year                    year of the run, from 0
--   rates                   marginal tax rate of each bracket, percent
--   welfare_start           the run's objective at 50 % in every bracket if every worker best-responds, in its own unit
--   welfare_best_response   the same for the year's schedule
--   welfare_oracle_grid     the same for the best schedule on the run's brackets in ten-point steps from 50 %
--   welfare_oracle          the same for the best schedule on the run's brackets at any rates: the optimum
--   planner_share           share of the possible gain, from welfare_start to welfare_oracle, that the year's schedule realizes: 1 is ORACLE, below 0 is worse than the start; an elected leader may pursue another objective; NULL if ORACLE gains less than 0.5 % of welfare_start
--   planner_share_exact     whether planner_share measures the planner's objective; false if dissatisfaction is part of the objective (--satisfaction objective), because best responses ignore it
--   mean_regret             mean regret of all workers, dollars a year
--   equilibrium_gap         largest gain of a single worker from deviating to its best response: the largest regret of egotistical workers, dollars a year; NULL without any
--   gap_agent               the worker with that regret
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

-- panel: one row per run, year and worker: its attributes, its decision, the outcome, and the call that decided.
--   run_id                  run
--   year                    year of the run, from 0
--   agent                   worker, from 0
--   wage                    wage in force in that year, dollars an hour
--   income_at_40_hours      income at that wage, dollars a year
--   utility_type            egotistical, altruistic or adversarial
--   occupation              census occupation; NULL without personas
--   sex                     female or male; NULL without personas
--   age                     years; NULL without personas
--   persona                 persona in the worker's prompts; NULL without personas
--   taste                   factor on the worker's cost of effort; NULL if all have the same (--taste-spread 0)
--   elasticity              the worker's own elasticity of hours; NULL if all have the same
--   participation_cost      what the worker loses if it works at all, dollars a year; NULL without --participation-cost
--   labor                   hours of work a week
--   income                  income before tax, dollars a year
--   tax                     tax paid, dollars a year
--   rebate                  rebate, dollars a year, the same for all workers
--   posttax                 income - tax + rebate, dollars a year
--   utility                 isoelastic utility, dollars a year
--   adjusted_utility        utility after dissatisfaction, dollars a year
--   best_labor              best response, hours a week
--   best_utility            utility of those hours, dollars a year
--   regret                  best_utility - utility, dollars a year
--   objective               value of what the worker's utility type maximizes, dollars a year or units of welfare
--   satisfied               verdict on the tax policy; NULL if the worker was not asked or gave no usable answer
--   fallback                whether there was no usable reply, so that hours stayed
--   call_id                 call that decided the hours; NULL if no model was called
--   marginal_rate           marginal tax rate at this income, percent; on the edge of two brackets the upper one's
--   net_of_tax_rate         1 - marginal_rate / 100: what is left of the next dollar
CREATE OR REPLACE VIEW panel AS
SELECT d.run_id, d.year, d.agent, coalesce(d.shocked_wage, a.wage) AS wage,
       coalesce(d.shocked_wage * 40 * 52, a.income_at_40_hours) AS income_at_40_hours, a.utility_type, a.occupation, a.sex,
       a.age, a.persona, a.taste, a.elasticity, a.participation_cost, d.labor, d.income, d.tax, d.rebate, d.income - d.tax + d.rebate AS posttax, d.utility, d.adjusted_utility,
       d.best_labor, d.best_utility, d.regret, d.objective, d.satisfied, d.fallback, d.call_id,
       y.rates[len(list_filter(y.thresholds, lambda edge: edge <= d.income * (1 + 1e-12)))] AS marginal_rate,
       1 - marginal_rate / 100 AS net_of_tax_rate
FROM decisions d
LEFT JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
LEFT JOIN years y ON y.run_id = d.run_id AND y.year = d.year;

-- calls: one row per attempt at a model call, with prompt and reply as plain text.
--   call_id                 call; increases with year, question, agent and attempt; negative in a study; interviews have the highest ids
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
--   temperature             sampling temperature
--   sampling_seed           seed sent to the model
--   prompt                  complete prompt as sent, system part first
--   response                complete reply as received; NULL without a reply
--   parsed                  fields of the reply as JSON; NULL if it could not be parsed
--   prompt_tokens           tokens of the prompt
--   completion_tokens       tokens of the reply
--   cached_tokens           prompt tokens that the provider had cached
--   reasoning_tokens        completion tokens of hidden reasoning
--   cost_usd                cost in dollars; NULL for a model without a known price
--   latency_ms              latency in milliseconds
--   started_at              start time in UTC
--   study                   study that made the call (an optimization or a validity card); NULL in a run
--   choice                  index of the sample, from 0, if one request asked for several; NULL if it asked for one
--   finish_reason           why the reply ended: stop, length, content_filter, tool_call, error or refusal; NULL without a reply
CREATE OR REPLACE VIEW calls AS
SELECT call_id, run_id, year, agent, role, signature, strategy, program, model, status, error, attempt, temperature,
       sampling_seed, prompt, response, parsed, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
       cost_usd, latency_ms, started_at, study, choice, finish_reason
FROM lm_calls;

-- cost_by_role: one row per run, role, signature, strategy and model: the cost of its calls.
--   run_id                  run
--   role                    worker, voter, planner or persona; preflight or interview
--   signature               what was asked
--   strategy                how it was asked
--   model                   language model
--   calls                   number of attempts
--   failed                  attempts without a usable reply
--   prompt_tokens           tokens of the prompt
--   completion_tokens       tokens of the reply
--   cached_tokens           prompt tokens that the provider had cached
--   reasoning_tokens        completion tokens of hidden reasoning
--   tokens_per_call         prompt and completion tokens per attempt
--   cost_usd                cost in dollars; NULL if no call has a known price
--   mean_latency_ms         mean latency in milliseconds
--   p95_latency_ms          95th percentile of latency in milliseconds, approximate
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

-- failures: one row per attempt without a usable reply.
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
--   prompt                  complete prompt as sent
--   response                complete reply as received; NULL without a reply
--   finish_reason           why the reply ended; NULL without a reply
--   latency_ms              latency in milliseconds
--   started_at              start time in UTC
CREATE OR REPLACE VIEW failures AS
SELECT call_id, run_id, year, agent, role, signature, strategy, program, model, status, error, attempt, prompt,
       response, finish_reason, latency_ms, started_at
FROM lm_calls
WHERE status <> 'ok' AND run_id IS NOT NULL;

-- elections: one row per run, election and candidate.
--   run_id                  run
--   year                    year of the election, from 0
--   candidate               agent that stood for office
--   wage                    the candidate's wage, dollars an hour
--   occupation              the candidate's occupation
--   votes                   ballots that name the candidate first
--   vote_share              votes as a share of the ballots that name a candidate, 0 to 1; NULL if there are none
--   named                   ballots that name the candidate at all; approvals, if a ballot is a set
--   voters                  number of voters; NULL for a rule without a vote
--   abstentions             voters who abstained
--   elected                 whether the candidate won; false for an incumbent who stays because no ballot names a candidate
--   platform                rate changes that the candidate proposed, percentage points by bracket; NULL without platforms
--   enacted                 rate changes after the election, percentage points by bracket
--   call_id                 call in which the candidate stood for office; NULL without platforms
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

-- prompt_versions: one row per run, signature, strategy, program, model and system prompt: the outcomes of each wording.
--   run_id                  run
--   role                    worker, voter, planner or persona; preflight or interview
--   signature               what was asked
--   strategy                how it was asked
--   program                 file of a saved program; NULL without one
--   model                   language model
--   prompt_hash             first 12 hex digits of the MD5 of the system prompt: the same text has the same hash
--   calls                   number of attempts
--   parse_failure_rate      share of the attempts whose reply could not be parsed, 0 to 1
--   failure_rate            share of the attempts without a usable reply, for any reason, 0 to 1
--   mean_prompt_tokens      mean tokens of the complete prompt
--   decisions               decisions on hours that the calls made, in the same run
--   mean_regret             mean regret of those decisions, dollars a year
--   example_call_id         first call with this prompt
--   system_prompt           text of the system prompt
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

-- run_summary: one row per run: settings, results and cost.
--   run_id                  run
--   name                    name of the run
--   status                  running, finished, failed, interrupted or stopped
--   scenario                rational, bounded or democratic
--   llm                     language model
--   prompt_algo             prompt strategy of roles without their own
--   planner_type            who sets the rates
--   worker_type             who chooses hours
--   seed                    random seed
--   num_agents              number of workers
--   max_timesteps           years to simulate
--   economy                 weekly or v1
--   objective               welfare function that is the planner's objective
--   years_played            years simulated so far
--   first_welfare           the objective in the first year, dollars per person (paper: a pure number)
--   last_welfare            the objective in the last year played
--   mean_welfare            the objective, mean over the years
--   last_welfare_best_response   the objective under the last year's schedule if every worker best-responds
--   last_rates              marginal rates in the last year, percent
--   mean_labor              mean hours a week over workers and years
--   mean_regret             mean regret over decisions, dollars a year
--   satisfied_share         share of positive verdicts on the tax policy, 0 to 1; NULL without verdicts
--   fallbacks               decisions without a usable reply
--   calls                   attempts at model calls, without interviews
--   failed_calls            attempts without a usable reply
--   prompt_tokens           tokens of the prompt
--   completion_tokens       tokens of the reply
--   cost_usd                cost in dollars; NULL if no call has a known price
--   call_seconds            total latency of all calls, seconds
--   wall_seconds            seconds from start to end; NULL while running
--   created_at              start time in UTC
--   finished_at             end time in UTC
--   parent_run_id           run that this one was forked from; NULL if it is not a fork
--   fork_year               first year that the fork does not share with its parent; NULL if it is not a fork
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
