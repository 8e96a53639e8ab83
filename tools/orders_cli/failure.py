"""The errors that a command ends with."""


class CommandFailed(Exception):
    """A command cannot do what was asked. The message is one line and says what to do next. The exit status is 1."""


class WrongUsage(CommandFailed):
    """The arguments do not fit together. The exit status is 2."""
