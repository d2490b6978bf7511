"""Interfaces of environments."""
