"""Runs functions in processes of their own, which may crash, raise or hang without ending the benchmark.

The benchmark itself loads neither TensorFlow nor PyTorch: TensorFlow's start sets environment variables, which every later
process would inherit.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # Spawned processes need it too.

TIMEOUT = 20 * 60.0  # seconds; PyTorch's first compilation takes half of it
_ENDING = 30.0  # seconds for a process to end by itself


class Task(NamedTuple):
    """A module, its function, the function's arguments, and environment variables that are set before the process starts."""

    module: str
    function: str
    arguments: Mapping[str, Any]
    environment: Mapping[str, str] | None = None

    def result(self) -> Any:
        """What the function returns."""
        return getattr(importlib.import_module(self.module), self.function)(**self.arguments)


class Failed(Exception):
    """Says why a process gave no answer."""


def ending(code: int) -> str:
    """An exit code in words."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def no_answer(timeout: float) -> str:
    """What is said of a process that was given up."""
    return f"no answer within {timeout:g} s"


class Answering:
    """A process that runs `work(task, pipe)` and answers through the pipe."""

    def __init__(self, work: Callable[[Task, Connection], None], task: Task, timeout: float = TIMEOUT):
        context = multiprocessing.get_context("spawn")
        self._timeout = timeout
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_quietly, args=(work, task, other), daemon=True)
        with _variables(task.environment or {}):
            self._process.start()
        other.close()

    def send(self, message: Any) -> None:
        """Sends a message; if the process has ended, the next `receive` says so."""
        with contextlib.suppress(OSError):
            self._pipe.send(message)

    def receive(self) -> Any:
        """The next answer.

        Raises:
            Failed: the process has ended, or gave no answer in time and was killed.
        """
        try:
            if self._pipe.poll(self._timeout):
                return self._pipe.recv()
        except (EOFError, OSError):
            raise Failed(ending(self.end())) from None
        self._process.kill()
        self.end()
        raise Failed(no_answer(self._timeout))

    def end(self) -> int:
        """Waits until the process has ended, and kills it if it does not; returns its exit code."""
        self._process.join(_ENDING)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        return self._process.exitcode


def computed(task: Task, timeout: float = TIMEOUT) -> Any:
    """What a task's function returns, computed in a process of its own.

    Raises:
        Failed: the process ended without an answer, or gave none in time.
    """
    process = Answering(_compute, task, timeout)
    answer = process.receive()
    process.end()
    return answer


def _compute(task: Task, pipe: Connection) -> None:
    pipe.send(task.result())


def _quietly(work: Callable[[Task, Connection], None], task: Task, pipe: Connection) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    work(task, pipe)


@contextlib.contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for a while: a spawned process inherits them, and its loader reads LD_PRELOAD."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
