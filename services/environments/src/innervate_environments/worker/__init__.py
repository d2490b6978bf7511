"""Processes that environments run in: what runs here is not trusted by the server."""
