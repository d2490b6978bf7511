"""ComputePool: a class of nodes that workloads are placed on."""
