"""The one error that says: what was given cannot be used."""


class InputError(ValueError):
    """What the user gave cannot be used.

    Its message is one sentence of what was expected, what came and what to do. The command prints it
    without a traceback and exits with code 2.
    """
