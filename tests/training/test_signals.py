"""Which signals a run waits for, and what becomes of them."""

import os
import signal

import pytest

from adv_networks.training.signals import STOPPING, stop_requests
from tests.training.helpers import stopped, tiny, train


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


def test_run_saves_when_its_connection_is_gone_and_goes_on(tmp_path):
    spec = tiny("standard")
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has ignored
    try:
        stopped(spec, tmp_path, 4, number=signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "checkpoints" / "ckpt-4.index").exists()
    train(spec, tmp_path)
    assert (tmp_path / "d.keras").exists()
