"""Which signals a run waits for, and what becomes of them; test_training.py has runs that they stop."""

import os
import signal

import pytest

from adv_networks.training.signals import STOPPING, stop_requests


@pytest.fixture
def handled():
    """What the process got that it did not put off; its handlers are as before afterwards."""
    received = []
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in STOPPING}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_is_put_off_and_the_next_one_acts(number, handled):
    with stop_requests() as stop:
        os.kill(os.getpid(), number)
        assert (stop, handled) == ([number], [])
        os.kill(os.getpid(), number)
        assert (stop, handled) == ([number], [number])
    os.kill(os.getpid(), number)
    assert handled == [number] * 2


def test_hang_ups_that_are_ignored_stay_ignored(handled):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert (stop, handled) == ([], [])
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop == [signal.SIGTERM]
