-- Which planner did best for the same people?
-- Runs side by side, by scenario, seed and number of workers. welfare_best_response: under the last schedule if every
-- worker best-responded; share_of_best: relative to the best run of the group.
-- param: objective VARCHAR = NULL (objective of the runs; all by default)
-- chart: point x=run_id y=share_of_best by=planner_type (welfare, relative to the best)
SELECT scenario, seed, num_agents, economy, objective, planner_type, llm, run_id, years_played, last_rates,
       round(mean_welfare, 5) AS mean_welfare, round(last_welfare_best_response, 5) AS welfare_best_response,
       round(last_welfare_best_response / max(last_welfare_best_response) OVER people, 4) AS share_of_best,
       round(mean_regret, 1) AS mean_regret
FROM run_summary
WHERE years_played > 0 AND ($objective::VARCHAR IS NULL OR objective = $objective)
WINDOW people AS (PARTITION BY scenario, seed, num_agents, economy, objective)
ORDER BY scenario, seed, num_agents, economy, objective, last_welfare_best_response DESC;
