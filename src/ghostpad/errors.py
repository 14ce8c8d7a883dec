"""Errors meant for people."""


class UserError(ValueError):
    """A mistake that the user can fix: the message is one line that says what is wrong and how to fix it.

    The command line prints it without a traceback and exits with 2.
    """
