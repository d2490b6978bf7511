"""Trainers that learn from rewards."""
