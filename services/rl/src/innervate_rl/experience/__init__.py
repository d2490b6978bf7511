"""Experience: every step of a run's episodes, with the digests of all that made them.

A trainer opens an `ExperienceWriter` with the cursor of the checkpoint that it resumes from, appends
rollouts, and calls `ExperienceWriter.flush` right before each checkpoint, which keeps the cursor.
"""

from innervate_rl.experience.rows import Cursor, Keep, Origin, Split, Steps, Turns
from innervate_rl.experience.writer import ExperienceWriter

__all__ = ["Cursor", "ExperienceWriter", "Keep", "Origin", "Split", "Steps", "Turns"]
