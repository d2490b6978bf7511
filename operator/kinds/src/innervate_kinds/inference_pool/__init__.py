"""InferencePool: engines that serve releases of a model, behind a gateway."""
