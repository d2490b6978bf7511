"""Interfaces of the identity service."""
