"""Environments to practise in, served over the network."""
