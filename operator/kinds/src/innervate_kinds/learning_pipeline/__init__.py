"""LearningPipeline: tries candidates one after another, judges them, and promotes or rolls back."""
