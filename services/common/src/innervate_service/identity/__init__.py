"""Workload identity: a key made here, a certificate for it from the identity authority, renewed."""
