"""Environments in JAX, which run inside the trainer."""
