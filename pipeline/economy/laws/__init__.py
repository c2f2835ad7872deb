"""Tax laws by name, with the prices that convert their dollars."""
