"""RLRun: trains a policy in an environment by several seeds, and publishes the best once a gate is passed."""
