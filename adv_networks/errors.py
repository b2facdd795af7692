"""The errors that are the user's to mend: each is one line that names what was expected and what was found."""


class UserError(Exception):
    """Something the command needs is missing, damaged or of the wrong kind (exit code 1)."""


class UsageError(UserError, ValueError):
    """The command or call itself is wrong (exit code 2)."""


class Interrupted(Exception):
    """A signal stopped the work after its state was saved (exit code 128 + signal number)."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number
