"""What can go wrong for whoever runs the service."""


class OperatorError(Exception):
    """What was asked for can't be done; the message says why, and what would help.

    It is for people at a terminal or in front of a log, never for clients of the service.
    """
