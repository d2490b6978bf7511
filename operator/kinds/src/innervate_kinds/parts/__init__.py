"""Parts that rooms of several kinds are built from: pods, jobs, placement, and what goes wrong with them."""
