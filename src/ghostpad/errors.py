"""Errors and warnings meant for people."""


class UserError(ValueError):
    """A mistake that the user can fix: the message is one line that says what is wrong and how to fix it.

    The command line prints it without a traceback and exits with 2.
    """


class Notice(UserWarning):
    """What the user should know; the command line prints it as one line, without a place in the code."""
