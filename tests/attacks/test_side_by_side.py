"""Searches side by side: what they are answered, in which batches, and how they end."""

import threading

import pytest

from adv_networks.attacks.side_by_side import side_by_side


def countdown(first):
    """A search that asks for each number from `first` down to 1, and returns the answers."""
    return lambda ask: [ask(number) for number in range(first, 0, -1)]


def test_each_search_gets_its_own_answers_and_batches_keep_their_size():
    asked = []

    def answer(questions):
        asked.append(list(questions))
        return [10 * question for question in questions]

    assert side_by_side([countdown(1), countdown(3), countdown(0), countdown(2)], answer) == [[10], [30, 20, 10], [], [20, 10]]
    # Searches that have finished repeat the question of the first that has not.
    assert asked == [[1, 3, 1, 2], [2, 2, 2, 1], [1, 1, 1, 1]]


def test_no_search_asks_nothing():
    assert side_by_side([], pytest.fail) == []


@pytest.mark.parametrize("where", ["search", "answer"])
def test_an_error_ends_all_searches_and_comes_out(where):
    def failing(ask):
        ask(1)
        raise ValueError("search")

    def answer(questions):
        if where == "answer":
            raise ValueError("answer")
        return questions

    before = threading.active_count()
    with pytest.raises(ValueError, match=where):
        side_by_side([countdown(5), failing, countdown(1)], answer)
    assert threading.active_count() == before
