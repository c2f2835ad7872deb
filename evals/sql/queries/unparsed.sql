-- Which prompts get replies that cannot be parsed, and what are those replies?
-- One row per prompt version (see the view prompt_versions), with the most common error and one reply.
-- param: run_id INTEGER = latest run
-- param: all_versions BOOLEAN = true (whether to include prompts without failures)
-- chart: bar x=prompt_hash y=parse_failure_rate by=signature (share of replies that do not parse)
WITH failed AS (
    SELECT run_id, signature, strategy, program, model, mode(error) AS commonest_error, min(call_id) AS example_call_id,
           arg_min(response, call_id) AS example_response
    FROM failures WHERE run_id = $run_id AND status = 'parse_error'
    GROUP BY ALL)
SELECT v.role, v.signature, v.strategy, v.program, v.prompt_hash, v.calls,
       round(v.parse_failure_rate, 4) AS parse_failure_rate,
       round(v.mean_prompt_tokens) AS mean_prompt_tokens, f.commonest_error, f.example_call_id, f.example_response
FROM prompt_versions v
LEFT JOIN failed f ON f.signature = v.signature AND f.strategy = v.strategy
     AND f.program IS NOT DISTINCT FROM v.program AND f.model IS NOT DISTINCT FROM v.model AND v.parse_failure_rate > 0
WHERE v.run_id = $run_id AND ($all_versions OR v.parse_failure_rate > 0)
ORDER BY v.parse_failure_rate DESC, v.calls DESC;
