"""Innervate's Python SDK and the innervate command."""
