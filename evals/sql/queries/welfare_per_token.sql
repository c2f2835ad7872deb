-- Which strategy yields the most welfare per thousand tokens?
-- One row per scenario, objective, model, and strategies of worker and planner, over all runs with model calls.
-- param: scenario VARCHAR = NULL (rational, bounded or democratic; all by default)
-- chart: point x=tokens_per_year y=mean_welfare by=worker_strategy (mean welfare)
WITH asked AS (
    SELECT run_id, max(strategy) FILTER (signature = 'ChooseLabor') AS worker_strategy,
           max(strategy) FILTER (signature IN ('SetTaxRates', 'GovernAsLeader')) AS planner_strategy,
           sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)) AS tokens
    FROM lm_calls WHERE role <> 'interview' GROUP BY run_id)
SELECT r.scenario, r.objective, r.llm, worker_strategy, planner_strategy, count(*) AS runs,
       sum(r.years_played)::BIGINT AS years, round(avg(r.mean_welfare), 4) AS mean_welfare,
       round(avg(r.mean_regret), 1) AS mean_regret, round(sum(tokens) / sum(r.years_played)) AS tokens_per_year,
       round(sum(r.mean_welfare * r.years_played) / (sum(tokens) / 1000), 6) AS welfare_per_1000_tokens,
       round(sum(r.cost_usd), 4) AS cost_usd
FROM run_summary r JOIN asked USING (run_id)
WHERE r.years_played > 0 AND ($scenario::VARCHAR IS NULL OR r.scenario = $scenario)
GROUP BY r.scenario, r.objective, r.llm, worker_strategy, planner_strategy
ORDER BY r.scenario, r.objective, welfare_per_1000_tokens DESC;
