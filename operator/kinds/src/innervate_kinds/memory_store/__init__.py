"""MemoryStore: what agents remember, in a Redis of its own or one that is there, behind a service."""
