"""A Redis of a resource's own, on a volume: TLS with certificates on both sides, and a password."""
