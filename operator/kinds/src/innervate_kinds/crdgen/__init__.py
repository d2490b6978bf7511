"""Generates what follows from the rooms: CRDs, the operator's RBAC rules, reference pages."""
