"""The errors that are the user's to mend: each is one line that names what was expected and what was found."""


class UserError(Exception):
    """Something the command needs is missing, damaged or of the wrong kind (exit code 1).

    Examples:
        >>> from adv_networks import errors, evaluation
        >>> try:
        ...     evaluation.load_classifier("missing.keras")
        ... except errors.UserError as error:
        ...     print(error)
        missing.keras: expected a .keras file, found none ...
    """


class UsageError(UserError, ValueError):
    """The command or call itself is wrong (exit code 2).

    Examples:
        >>> from adv_networks import attacks, errors
        >>> try:
        ...     attacks.named("pgd:loss=hinge", 0.3)
        ... except errors.UsageError as error:
        ...     print(error)
        attack pgd: loss: expected one of cross_entropy, dlr, margin, received hinge
    """


class Interrupted(Exception):
    """A signal stopped the work after its state was saved (exit code 128 + signal number).

    Examples:
        >>> import signal
        >>> from adv_networks import errors
        >>> 128 + errors.Interrupted(signal.SIGTERM, "stopped after 100 steps").signal_number
        143
    """

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number
