"""What is learnt: a class for each item or pixel; a file and a line here each. What a person says is session's."""

from tomotutor.learn.tasks.base import Task
from tomotutor.learn.tasks.classification import CLASSIFICATION
from tomotutor.learn.tasks.segmentation import SEGMENTATION, VOID, Confusion

TASKS: dict[str, Task] = {"classification": CLASSIFICATION, "segmentation": SEGMENTATION}

__all__ = ["TASKS", "VOID", "Confusion", "Task"]
