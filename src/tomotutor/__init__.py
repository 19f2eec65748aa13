"""TomoTutor: label only the subtomograms that matter."""

from tomotutor.base.errors import TomoTutorError

__version__ = "0.1.0"
__all__ = ["TomoTutorError", "__version__"]
