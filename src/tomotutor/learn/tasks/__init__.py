"""What is learnt: a class for each item, or for each pixel. One file each, and one line here."""

from tomotutor.learn.tasks.base import Task
from tomotutor.learn.tasks.classification import CLASSIFICATION
from tomotutor.learn.tasks.segmentation import SEGMENTATION, VOID, Confusion

TASKS: dict[str, Task] = {"classification": CLASSIFICATION, "segmentation": SEGMENTATION}

__all__ = ["TASKS", "VOID", "Confusion", "Task"]
