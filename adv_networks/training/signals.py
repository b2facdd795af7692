"""Signals that stop a run, delayed until its state can be saved."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

# Ctrl-C, the end of a job, and the loss of a connection or terminal.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that receives the first stopping signal instead of the process, so that a step is never interrupted.

    A second signal acts as usual. Hang-ups that the process ignores (`nohup`) stay ignored.
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
        pass  # This is not the main thread, which handles the signals.
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
