-- Which calls kept the run waiting?
-- param: run_id INTEGER = latest run
-- param: calls INTEGER = 20 (number of calls)
-- chart: point x=year y=latency_ms by=signature (milliseconds)
SELECT call_id, year, agent, role, signature, strategy, model, status, attempt, round(latency_ms) AS latency_ms,
       prompt_tokens, completion_tokens, round(latency_ms / nullif(completion_tokens, 0), 1) AS ms_per_token, started_at
FROM lm_calls
WHERE run_id = $run_id
ORDER BY lm_calls.latency_ms DESC, call_id
LIMIT $calls;
