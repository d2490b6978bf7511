"""ModelRelease: one version of a model, by digest, signed, and verified before anything serves it."""
