"""The runner of eval jobs, and the scorers behind the scoring interface."""
