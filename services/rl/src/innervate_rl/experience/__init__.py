"""Experience: every step of a run's episodes, with the digests of all that made them.

A trainer makes a writer with the cursor of the checkpoint that it resumes from, appends rollouts, and
flushes right before each checkpoint, which keeps the new cursor::

    writer = ExperienceWriter.of(settings, cursor=Cursor.of(saved.get("experience")), fence=checkpoints.check)
    if writer.wants_training:
        writer.append_rollout(Steps(...), iteration=7, policy="sha256:…")
    saved["experience"] = writer.flush().document()
    ...
    writer.append_episodes(Steps(...), lengths, iteration=last, policy="sha256:…")  # the evaluation
    writer.flush()
    writer.close()
"""

from innervate_rl.experience.rows import Cursor, Keep, Origin, Split, Steps, Turns
from innervate_rl.experience.writer import ExperienceWriter

__all__ = ["Cursor", "ExperienceWriter", "Keep", "Origin", "Split", "Steps", "Turns"]
