"""Interfaces of the exchange log."""
