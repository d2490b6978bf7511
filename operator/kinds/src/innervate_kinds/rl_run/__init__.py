"""RLRun: trains a policy in an environment, several seeds of it, and publishes the best once a gate is passed."""
