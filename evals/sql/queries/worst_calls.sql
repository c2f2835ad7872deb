-- Which calls led to the decisions with the highest regret, and what was their prompt?
-- regret: dollars a year that the best hours would have added. `llm-economist show CALL_ID` shows a complete call.
-- param: run_id INTEGER = latest run
-- param: calls INTEGER = 5 (number of calls)
-- param: from_year INTEGER = 0 (first year to include; early on, workers know little)
-- chart: point x=labor y=regret by=strategy (regret, dollars a year)
WITH worst AS (
    SELECT call_id, run_id, year, agent, labor, best_labor, regret, best_utility
    FROM decisions
    WHERE run_id = $run_id AND year >= $from_year AND call_id IS NOT NULL
    ORDER BY regret DESC, call_id LIMIT $calls)
SELECT w.call_id, w.year, w.agent, round(w.regret) AS regret,
       round(w.regret / nullif(abs(w.best_utility), 0), 3) AS share_of_best, w.labor,
       round(w.best_labor, 1) AS best_labor, c.strategy, c.response, c.prompt
FROM worst w JOIN lm_calls c ON c.call_id = w.call_id
ORDER BY w.regret DESC, w.call_id;
