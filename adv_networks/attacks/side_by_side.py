"""Searches of one image each, side by side, so that the classifier sees a batch although each search asks about one image."""

from __future__ import annotations

import concurrent.futures
import queue
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


def side_by_side(
    searches: Sequence[Callable[[Callable[[Question], Answer]], Result]],
    answer: Callable[[Sequence[Question]], Sequence[Answer]],
) -> list[Result]:
    """Runs searches that ask one question at a time, and answers the questions of all together.

    Each search has a thread, because a library's optimiser calls back and cannot be suspended otherwise. A round waits until
    every unfinished search has asked, so what is asked together does not depend on how the threads are scheduled.

    Args:
        searches: functions of `ask`, which takes a question and returns its answer.
        answer: answers a list of as many questions as there are searches, in their order. The questions of finished searches
            are repetitions of another one, so that the batch keeps its shape.

    Returns:
        What each search returned.

    Raises:
        BaseException: what a search or `answer` raised. The searches that have not finished are ended.

    Examples:
        >>> side_by_side([lambda ask: ask(1) + ask(2), lambda ask: ask(3)], lambda asked: [10 * number for number in asked])
        [30, 30]
    """
    said: queue.SimpleQueue[tuple[int, bool, Any]] = queue.SimpleQueue()
    answers: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in searches]
    results: dict[int, Result] = {}

    def run(number: int) -> None:
        def ask(question: Question) -> Answer:
            said.put((number, False, question))
            received = answers[number].get()
            if received is _END:
                raise _Ended
            return received

        try:
            said.put((number, True, searches[number](ask)))
        except BaseException as error:  # It is raised again where the searches were started.
            said.put((number, True, _Failed(error)))

    living = set(range(len(searches)))
    with concurrent.futures.ThreadPoolExecutor(max(1, len(searches))) as threads:
        try:
            for number in sorted(living):
                threads.submit(run, number)
            while living:
                asked = {}
                for _ in range(len(living)):
                    number, finished, what = said.get()
                    if isinstance(what, _Failed):
                        living.discard(number)
                        raise what.error
                    (results if finished else asked)[number] = what
                living = set(asked)
                if asked:
                    any_of_them = asked[min(asked)]
                    found = answer([asked.get(number, any_of_them) for number in range(len(searches))])
                    for number in asked:
                        answers[number].put(found[number])
        finally:
            for number in living:
                answers[number].put(_END)
    return [results[number] for number in range(len(searches))]


_END = object()


class _Ended(BaseException):
    """Ends a search whose answer will never come."""


class _Failed:
    """What a search raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
