"""The errors that are the user's to mend: each is one line that names what was expected and what was found."""


def printable(text: str) -> str:
    r"""The text with unprintable characters as escapes: `a\nb` for a line break, `\xff` for a byte that is not UTF-8.

    Examples:
        >>> from adv_networks.errors import printable
        >>> print(printable("two" + chr(10) + "lines"))
        two\nlines
    """
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # In file names, Python represents bytes that are not UTF-8 by these code points.
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


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

    def __str__(self) -> str:
        """The message, on one line even if it quotes a name of several lines."""
        return printable(super().__str__())


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
