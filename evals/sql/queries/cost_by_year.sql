-- What does each role cost, year by year?
-- param: run_id INTEGER = latest run
-- param: years_per_row INTEGER = 1 (years per row)
-- chart: line x=from_year y=prompt_tokens by=role
SELECT (year // $years_per_row) * $years_per_row AS from_year, role, count(*) AS calls,
       count_if(status <> 'ok')::BIGINT AS failed, sum(prompt_tokens)::BIGINT AS prompt_tokens,
       sum(completion_tokens)::BIGINT AS completion_tokens, sum(cached_tokens)::BIGINT AS cached_tokens, round(sum(cost_usd), 6) AS cost_usd,
       round(avg(latency_ms), 1) AS mean_latency_ms
FROM lm_calls
WHERE run_id = $run_id
GROUP BY from_year, role
ORDER BY from_year, role;
