"""The error that every command reports."""


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """The command can't do this; the message says why and how to go on. Nothing was changed."""
