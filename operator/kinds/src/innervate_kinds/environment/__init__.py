"""Environment: what policies practise in, served with rewards that are told apart from errors."""
