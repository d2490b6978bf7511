"""Trainers: replay fine-tuning of a release into a new one, and the sidecar that follows any trainer."""
