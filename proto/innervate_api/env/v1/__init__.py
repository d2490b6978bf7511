"""Version 1, as generated."""
