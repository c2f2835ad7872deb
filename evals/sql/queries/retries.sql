-- Why did calls fail, and did another attempt succeed?
-- One row per signature and kind of failure. mended: a later attempt at the same question was answered.
-- param: run_id INTEGER = latest run
-- chart: stack x=status y=attempts by=signature (failed attempts)
WITH answered AS (
    SELECT DISTINCT year, agent, signature FROM lm_calls WHERE run_id = $run_id AND status = 'ok')
SELECT f.role, f.signature, f.strategy, f.status, count(*) AS attempts, max(f.attempt) + 1 AS most_in_a_row,
       count_if(a.signature IS NOT NULL)::BIGINT AS mended, round(avg(f.latency_ms), 1) AS mean_latency_ms,
       mode(f.error) AS commonest_error, min(f.call_id) AS example_call_id
FROM failures f LEFT JOIN answered a
     ON a.year = f.year AND a.signature = f.signature AND a.agent IS NOT DISTINCT FROM f.agent
WHERE f.run_id = $run_id
GROUP BY f.role, f.signature, f.strategy, f.status
ORDER BY attempts DESC;
