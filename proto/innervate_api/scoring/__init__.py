"""Interfaces of scorers."""
