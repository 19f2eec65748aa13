"""TomoTutor: label only the subtomograms that matter."""

import os  # and no more: the command line imports this package before it can heed Ctrl-C

# before torch is imported: threads that wait for each other sleep. OpenMP lets them spin, which beside other programs
# takes two thirds of the speed of a training, and alone gains nothing
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "TomoTutorError":
        from tomotutor.base.errors import TomoTutorError

        return TomoTutorError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
