"""The one error that says: what was given cannot be used."""


class InputError(ValueError):
    """What the user gave cannot be used.

    Its message is one sentence of what was expected, what came and what to do. The command prints it
    without a traceback and exits with code 2.

    Args:
        message: the sentence.
        cause: in a word or two, where clips that cannot be used are counted by cause.
    """

    def __init__(self, message: str, cause: str = "unreadable") -> None:
        super().__init__(message)
        self.cause = cause
