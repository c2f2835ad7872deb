-- Which planner did best by the same people?
-- Runs side by side, by scenario, seed and size of the population.
-- welfare_best_response: the last schedule if every worker best-responded; share_of_best: of the best in its group.
-- param: objective VARCHAR = NULL (welfare function of the runs; all by default)
SELECT scenario, seed, num_agents, economy, objective, planner_type, llm, run_id, years_played, last_rates,
       round(mean_welfare, 5) AS mean_welfare, round(last_welfare_best_response, 5) AS welfare_best_response,
       round(last_welfare_best_response / max(last_welfare_best_response) OVER people, 4) AS share_of_best,
       round(mean_regret, 1) AS mean_regret
FROM run_summary
WHERE years_played > 0 AND ($objective::VARCHAR IS NULL OR objective = $objective)
WINDOW people AS (PARTITION BY scenario, seed, num_agents, economy, objective)
ORDER BY scenario, seed, num_agents, economy, objective, last_welfare_best_response DESC;
