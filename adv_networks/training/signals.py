"""Signals that stop a run, put off until its state can be saved."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

# Ctrl-C, the end of a job, and a connection or terminal that is gone.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that receives the first stopping signal instead of the process, so that a step is never cut in two.

    The next one acts as if there was no such list. Hang-ups that the process ignores (`nohup`) stay ignored.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def receive(number: int, _: Any) -> None:
        received.append(number)
        for other, handler in previous.items():
            signal.signal(other, handler)

    try:
        for number in STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, receive)
    except ValueError:
        pass  # Not the main thread: whoever runs it there handles the signals.
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
