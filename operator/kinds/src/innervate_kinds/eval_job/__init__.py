"""EvalJob: asks a release questions with known answers, compares it, and gives a verdict."""
