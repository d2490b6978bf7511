"""Proximal policy optimization, https://arxiv.org/abs/1707.06347, with the settings of Stable-Baselines3."""
