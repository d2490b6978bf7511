"""Interfaces of the memory service."""
