"""Models, engines and agents that answer as a test needs it."""
