"""The three-valued comparisons, against half-widths worked out by hand."""

import pytest

from adv_networks import claims
from adv_networks.claims import Number, Verdict

HOLDS, FAILS, UNDECIDED, _ = Verdict


def of(predicate, *percents, images=10_000, z=1.96):
    """The verdict of a predicate whose cells are called 0, 1, 2 …"""
    return predicate.verdict({key: Number(percent, images) for key, percent in enumerate(percents)}, z)


# Half-widths by hand: 50 and 48.6% of 10,000 differ by 1.40 ± 1.96 sqrt((50·50 + 48.6·51.4) / 10,000) = 1.40 ± 1.386.
@pytest.mark.parametrize(
    ("other", "verdict", "reverse"),
    [(48.60, HOLDS, FAILS), (48.62, UNDECIDED, UNDECIDED), (50.0, UNDECIDED, UNDECIDED), (51.40, FAILS, HOLDS)],
)
def test_greater_is_decided_beyond_the_sampling_error(other, verdict, reverse):
    assert of(claims.greater(0, 1), 50.0, other) == verdict
    assert of(claims.greater(1, 0), 50.0, other) == reverse


def test_more_images_decide_what_fewer_do_not():
    # 90.34 ± 1.96 sqrt(90.34 · 9.66 / n): ± 0.58 of 10,000, ± 0.29 of 40,000.
    assert of(claims.above(0, 90), 90.34) == UNDECIDED
    assert of(claims.above(0, 90), 90.34, images=40_000) == HOLDS
    assert of(claims.above(0, 91), 90.34, images=40_000) == FAILS


def test_none_and_all_of_few_images_have_an_error_too():
    # All of 199, and 2 of 4 more, are 99.01%: ± 1.96 sqrt(99.01 · 0.99 / 203) = 1.36.
    assert of(claims.above(0, 99), 100.0, images=199) == UNDECIDED
    assert of(claims.above(0, 98.6), 100.0, images=199) == HOLDS
    # 2 of 104 are 1.92%: ± 2.64. 2 of 10,004 are 0.02%: ± 0.028.
    assert of(claims.below(0, 2), 0.0, images=100) == UNDECIDED
    assert of(claims.below(0, 2.7), 0.0, images=100) == HOLDS
    assert of(claims.below(0, 0.03), 0.0) == HOLDS


def test_greater_by_points_and_what_touches_the_bound():
    assert of(claims.greater(0, 1, by=99.99), 100.0, 0.0, z=0) == HOLDS
    assert of(claims.greater(0, 1, by=100), 100.0, 0.0) == UNDECIDED
    assert of(claims.greater(0, 1, by=100.01), 100.0, 0.0, z=0) == FAILS
    # A negative `by`: less than ten points lower. ± 1.38.
    assert of(claims.greater(0, 1, by=-10), 50.0, 58.5) == HOLDS
    assert of(claims.greater(0, 1, by=-10), 50.0, 59.5) == UNDECIDED
    assert of(claims.greater(0, 1, by=-10), 50.0, 61.5) == FAILS


# The difference from 50% is ± 1.386 near 48.4, ± 1.383 near 45.6.
@pytest.mark.parametrize(
    ("other", "verdict"), [(48.40, HOLDS), (48.38, UNDECIDED), (45.63, UNDECIDED), (45.60, FAILS), (54.40, FAILS)]
)
def test_close_holds_inside_and_fails_outside(other, verdict):
    assert of(claims.close(0, 1, within=3), 50.0, other) == verdict
    assert of(claims.close(1, 0, within=3), 50.0, other) == verdict


def test_printed_numbers_have_no_error():
    assert of(claims.greater(0, 1), 50.01, 50.0, z=0) == HOLDS
    assert of(claims.greater(0, 1), 50.0, 50.0, z=0) == UNDECIDED
    # 48.4 - 45.1 - 3.3 is not 0 in floating point.
    assert of(claims.greater(0, 1, by=3.3), 48.4, 45.1, z=0) == UNDECIDED


def test_cells_of_one_side_are_taken_as_correlated():
    # Means of two, 1.0 apart: ± 1.386 if the two err together, ± 0.980 if they did not.
    assert of(claims.mean_greater([0, 1], [2, 3]), 50.0, 50.0, 49.0, 49.0) == UNDECIDED
    assert of(claims.mean_greater([0, 1], [2, 3]), 50.0, 50.0, 48.6, 48.6) == HOLDS
    assert of(claims.mean_greater([0, 1], [2]), 80.0, 20.0, 50.0, z=0) == UNDECIDED


def test_three_valued_logic():
    # Cells 0, 1, 2 are 100, 0 and 50%.
    yes, no, open_ = claims.greater(0, 1), claims.greater(1, 0), claims.greater(2, 2)
    for combine, parts, verdict in (
        (claims.all_of, (yes, yes), HOLDS),
        (claims.all_of, (yes, open_), UNDECIDED),
        (claims.all_of, (no, open_), FAILS),
        (claims.any_of, (no, yes, open_), HOLDS),
        (claims.any_of, (no, open_), UNDECIDED),
        (claims.any_of, (no, no), FAILS),
        (claims.most_of, (yes, yes, no, no), FAILS),
        (claims.most_of, (yes, yes, open_, no), UNDECIDED),
        (claims.most_of, (yes, yes, yes, no), HOLDS),
        (claims.most_of, (yes, yes, open_), HOLDS),
        (claims.most_of, (yes, open_, no, no), FAILS),
    ):
        assert of(combine(parts), 100.0, 0.0, 50.0) == verdict, (combine, parts)


def test_highest_lowest_and_pairs():
    percents = (90.0, 50.0, 89.5)
    assert of(claims.highest(0, [0, 1, 2]), *percents) == UNDECIDED
    assert of(claims.highest(0, [0, 1, 2]), *percents, images=1_000_000) == HOLDS
    assert of(claims.highest(2, [0, 1]), *percents) == UNDECIDED
    assert of(claims.not_highest(1, [0, 1, 2]), *percents) == HOLDS
    assert of(claims.not_highest(2, [0, 1, 2]), *percents) == UNDECIDED
    assert of(claims.lowest(1, [0, 1, 2]), *percents) == HOLDS
    assert of(claims.lowest(2, [0, 1, 2]), *percents) == FAILS
    assert of(claims.all_close([0, 2]), *percents) == HOLDS
    assert of(claims.all_close([0, 1, 2]), *percents) == FAILS
