"""The one kind of error that a user is meant to read."""


class TomoTutorError(Exception):
    """Something the user can mend: the message is one sentence that names the file, what was found and what was
    expected.
    """


def shown(text: str, limit: int = 200) -> str:
    """Return text from a file as it may stand in a message: one line of printable characters, not too long."""
    return "".join(character if character.isprintable() else "?" for character in text[:limit])


class TrainingDivergedError(TomoTutorError):
    """The loss became NaN or infinite; the round stops and the previous model stays."""


class CancelledError(Exception):
    """A round was cancelled between two batches; nothing of it is kept."""
