"""The error of bad input: a ValueError that says its sentence and knows its cause."""

from atgnn.errors import InputError


def test_it_says_its_sentence_and_knows_its_cause() -> None:
    error = InputError("expected sound, got silence; leave it out", cause="silent")
    assert isinstance(error, ValueError)
    assert (str(error), error.cause) == ("expected sound, got silence; leave it out", "silent")
    assert InputError("…").cause == "unreadable"
