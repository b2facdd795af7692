"""Attacks on few pixels, JSMA and one pixel, against searches written otherwise: by brute force, by ART and by SciPy."""

import itertools

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from adv_networks import attacks
from adv_networks.attacks.one_pixel import distinct_triples
from adv_networks.attacks.pixels import as_seen, with_pixels
from adv_networks.attacks.saliency_map import best_pairs
from adv_networks.errors import UsageError
from tests.conftest import randomised

COUNT, SEEDS = 50, 2
# Populations and generations at which one pixel meets SciPy's differential evolution and random search.
FEW, MANY = (100, 12), (60, 50)


@pytest.fixture(scope="module")
def problem(partly_robust):
    """A classifier of digits, and images that it labels correctly."""
    right = np.argmax(attacks.predict(partly_robust.model, partly_robust.x[:100]), 1) == partly_robust.y[:100]
    chosen = np.flatnonzero(right)[:COUNT]
    return partly_robust.model, partly_robust.x[chosen], partly_robust.y[chosen].astype(np.int32)


@pytest.fixture(scope="module")
def colours():
    """A small classifier of 5 classes of images with three channels that are not square, images and the labels it gives."""
    layers = [keras.Input((5, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(8, "tanh"), keras.layers.Dense(5)]
    model = randomised(keras.Sequential(layers))
    x = np.random.default_rng(0).random((9, 5, 4, 3), np.float32)
    return model, x, np.argmax(model(x), 1).astype(np.int32)


def runners_up(model, x, y):
    logits = attacks.predict(model, x).numpy()
    logits[np.arange(len(y)), y] = -np.inf
    return logits.argmax(1)


def pixels_changed(x, found):
    return (np.abs(found - x) > 1e-4).any(-1).sum((1, 2))


def labels_of(model, x):
    return np.argmax(attacks.predict(model, x), 1)


# --- JSMA ------------------------------------------------------------------------------------------------------------


def best_pair_by_hand(own, others, free):
    """The pair of the largest score among all of them, None where there is no pair."""
    first, second = np.array(list(itertools.combinations(np.flatnonzero(free), 2)) or [(0, 0)]).T
    rise, rest = own[first] + own[second], others[first] + others[second]
    scores = np.where((first != second) & (rise > 0) & (rest < 0), -rise * rest, 0)
    best = scores.argmax()
    return {first[best], second[best]} if scores[best] > 0 else None


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.9])
def test_best_pair_is_that_of_all_pairs(correlation):
    rng = np.random.default_rng(1)
    own, other = rng.normal(size=(2, 20, 40))
    others = correlation * own + other
    own[0], others[1] = -1, 1  # no pair has both signs
    others[2] = own[3] = 0
    free = rng.random(own.shape) < 0.7
    free[4] = np.arange(40) == 7  # one value is no pair
    pairs, exist = best_pairs(*(tf.constant(values) for values in (own, others, free)))
    for number in range(len(own)):
        expected = best_pair_by_hand(own[number], others[number], free[number])
        assert exist[number] == (expected is not None)
        assert expected is None or set(pairs[number].numpy().tolist()) == expected


def jsma_by_hand(model, image, target, share, theta):
    """JSMA of one image of the two dense layers in `colours`; None where it does not reach the target."""
    point, values = image.astype(np.float64).ravel(), image.size
    free = point < 1
    kernel, bias, second_kernel, second_bias = model.get_weights()
    for step in itertools.count():
        hidden = np.tanh(point @ kernel + bias)
        if np.argmax(hidden @ second_kernel + second_bias) == target:
            return point.reshape(image.shape)
        jacobian = (kernel * (1 - hidden**2) @ second_kernel).T
        pair = best_pair_by_hand(jacobian[target], np.delete(jacobian, target, 0).sum(0), free)
        if pair is None or step == int(share * values / 2):
            return None
        for place in pair:
            point[place], free[place] = min(1, point[place] + theta), False


@pytest.mark.parametrize(("share", "theta"), [(0.3, 1.0), (0.6, 0.4)])
def test_jsma_is_that_by_hand(share, theta, colours):
    model, x, y = colours
    found = attacks.jsma(model, x, y, share=share, theta=theta).numpy()
    reached = 0
    for image, own, target in zip(x, found, runners_up(model, x, y), strict=True):
        expected = jsma_by_hand(model, image, target, share, theta)
        np.testing.assert_allclose(own, image if expected is None else expected, atol=1e-6)
        reached += expected is not None
    assert 0 < reached < len(x)


def test_all_targets_take_the_fewest_values(colours):
    model, x, y = colours
    of_each = [
        [jsma_by_hand(model, image, target, 0.4, 1.0) for target in range(5) if target != label]
        for image, label in zip(x, y, strict=True)
    ]
    fewest = [
        min((int((np.abs(own - image) > 1e-6).sum()) for own in found if own is not None), default=0)
        for image, found in zip(x, of_each, strict=True)
    ]
    found = attacks.jsma(model, x, y, target="all", share=0.4).numpy()
    assert (found != x).sum((1, 2, 3)).tolist() == fewest
    np.testing.assert_array_equal(labels_of(model, found) != y, np.array(fewest) > 0)


def test_jsma_reaches_targets_of_ones_own(colours):
    model, x, y = colours
    targets = (y + 2) % 5
    found = attacks.jsma(model, x, y, target=targets, share=1).numpy()
    moved = pixels_changed(x, found) > 0
    assert moved.any() and (labels_of(model, found)[moved] == targets[moved]).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_jsma_is_that_of_art_where_their_maps_are_one(colours):
    """ART raises the two values of the target's largest gradients: the best pair where the logits' gradients sum to zero."""
    pytest.importorskip("art")
    from art.attacks.evasion import SaliencyMapMethod

    from adv_networks.attacks.foreign import art

    model, share = keras.models.clone_model(colours[0]), 0.3
    *first, kernel, bias = colours[0].get_weights()
    model.set_weights([*first, kernel - kernel.mean(1, keepdims=True), bias - bias.mean()])
    x = np.random.default_rng(1).random((40, 5, 4, 3), np.float32)
    y = labels_of(model, x).astype(np.int32)
    theirs = SaliencyMapMethod(art.classifier(model), theta=1.0, gamma=share, batch_size=len(x), verbose=False)
    theirs, ours = theirs.generate(x, runners_up(model, x, y)), attacks.jsma(model, x, y, share=share).numpy()
    reached = labels_of(model, ours) == runners_up(model, x, y)
    assert 0.5 < reached.mean() < 1
    np.testing.assert_allclose(ours[reached], theirs[reached], atol=1e-6)
    assert ((np.abs(theirs - x) > 1e-6).sum((1, 2, 3))[~reached] > share * x[0].size).all()  # It goes one pair too far.


def test_map_of_log_probabilities_is_that_of_probabilities(colours):
    model, x, y = colours
    own, same = (attacks.jsma(model, x, y, share=0.3, of=of).numpy() for of in ("probabilities", "log_probabilities"))
    np.testing.assert_allclose(own, same, atol=1e-6)
    assert pixels_changed(x, own).any()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_jsma_fools_no_fewer_than_art_by_no_more_pixels(problem):
    """The default, of logits, does so by no more pixels, but fools fewer: its docstring has the figures."""
    pytest.importorskip("art")
    from art.attacks.evasion import SaliencyMapMethod

    from adv_networks.attacks.foreign import art

    model, x, y = problem
    targets, share = runners_up(model, x, y), 0.145
    theirs = SaliencyMapMethod(art.classifier(model), theta=1.0, gamma=share, batch_size=len(x), verbose=False)
    found = {of: attacks.jsma(model, x, y, share=share, of=of).numpy() for of in ("logits", "log_probabilities")}
    found["art"] = theirs.generate(x, targets)
    reached = {name: labels_of(model, own) == targets for name, own in found.items()}
    medians = {name: np.median(pixels_changed(x, own)[reached[name]]) for name, own in found.items()}
    # ART may raise one pair more than the share allows, and is still behind.
    assert reached["log_probabilities"].sum() >= reached["art"].sum() >= reached["logits"].sum() > COUNT / 2
    assert max(medians["log_probabilities"], medians["logits"]) <= 1.05 * medians["art"], medians


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"share": 0.0}, "share: expected at least two and at most all of 60 values, received 0.0"),
        ({"share": 0.03}, "share: expected at least two and at most all of 60 values, received 0.03"),
        ({"share": 1.5}, "share: expected at least two and at most all of 60 values, received 1.5"),
        ({"theta": 0}, "theta: expected a value above 0 and of at most 1, received 0"),
        ({"target": "least"}, "target: expected one of runner_up, .*, received least"),
        ({"target": np.full(9, 5)}, "target: expected integers from 0 to 4, received 5"),
    ],
)
def test_wrong_arguments_of_jsma_are_refused(options, said, colours):
    with pytest.raises(UsageError, match=f"^{said}$"):
        attacks.jsma(*colours, **options)


@pytest.mark.parametrize("attack", [attacks.jsma, attacks.one_pixel])
def test_own_label_is_no_target(attack, colours):
    model, x, y = colours
    with pytest.raises(
        UsageError, match=r"^target: expected a class other than .*, received \d for image 0, which is its label$"
    ):
        attack(model, x, y, target=y)


# --- One pixel -------------------------------------------------------------------------------------------------------


def test_pixels_are_put_where_individuals_say():
    x = np.random.default_rng(0).random((2, 3, 4, 2)).astype(np.float32)
    genes = [[[0.0, 0.99, 0.1, 0.2], [1.0, 0.5, 0.3, 0.4]], [[0.4, 0.0, 0.5, 0.6], [0.5, 0.2, 0.7, 0.8]]]
    found = with_pixels(tf.constant(x), tf.constant([genes, genes[::-1]])).numpy()
    first, second = x.copy(), x.copy()
    first[:, 0, 3], first[:, 2, 2], second[:, 1, 0] = (0.1, 0.2), (0.3, 0.4), (0.7, 0.8)
    np.testing.assert_array_equal(found, [first[0], second[0], second[1], first[1]])


@pytest.mark.parametrize("pixels", [1, 3])
def test_individuals_are_seen_as_equal_exactly_where_they_make_the_same_image(pixels):
    rng = np.random.default_rng(pixels)
    x = rng.integers(0, 2, (3, 2, 2, 2)).astype(np.float32)
    individuals = rng.integers(0, 4, (3, 200, pixels, 4)).astype(np.float32) / 4
    individuals[..., 2:] = np.round(individuals[..., 2:])
    images = with_pixels(tf.constant(x), tf.constant(individuals)).numpy().reshape(3, 200, -1)
    seen = as_seen(x, individuals).reshape(3, 200, -1)
    same_image, same_seen = ((own[:, :, None] == own[:, None]).all(-1) for own in (images, seen))
    assert same_image.mean() > 0.02 and not same_image.all()
    np.testing.assert_array_equal(same_seen, same_image)


@pytest.mark.slow
def test_the_model_is_asked_about_no_image_twice(problem):
    model, x, y = problem[0], problem[1][:6], problem[2][:6]
    asked = []

    class Spy(keras.layers.Layer):
        def call(self, inputs):
            tf.py_function(lambda own: asked.append(own.numpy()), [inputs], [])
            return inputs

    image = keras.Input(x.shape[1:])
    spied = keras.Model(image, model(Spy()(image)))
    found = attacks.named("one_pixel:population=20:generations=30", 1).crafted(spied, x, y)
    asked = np.concatenate(asked).reshape(-1, x[0].size)
    # Labelling the images themselves is the first query of each; an individual may also change nothing.
    twice = sum((asked[6:] == own).all(1).any() for own in asked[:6])
    assert len(np.unique(asked, axis=0)) == len(asked) - twice
    assert len(asked) == found.queries.sum() and found.queries.max() < 1 + 20 * 31
    without = attacks.one_pixel(model, x, y, population=20, generations=30)
    np.testing.assert_array_equal(found.images, without)


def test_triples_are_distinct_and_equally_likely():
    count, draws = 5, np.random.default_rng(0).random((60_000, 3)).astype(np.float32)
    triples, times = np.unique(distinct_triples(tf.constant(draws), count), axis=0, return_counts=True)
    assert {tuple(triple) for triple in triples.tolist()} == set(itertools.permutations(range(count), 3))
    assert np.abs(times - 1000).max() < 5 * np.sqrt(1000)


@pytest.mark.parametrize("pixels", [1, 3])
def test_only_so_many_pixels_change_and_the_fooled_images_are_fooled(pixels, problem):
    model, x, y = problem
    found = attacks.one_pixel(model, x, y, pixels=pixels, population=20, generations=5).numpy()
    changed = pixels_changed(x, found)
    assert changed.max() <= pixels and changed.any()
    np.testing.assert_array_equal(labels_of(model, found) != y, changed > 0)


def test_populations_of_any_size_evolve_one_after_another(problem):
    model, x, y = problem
    for population, pixels in ((4, 1), (5, 1), (6, 2), (7, 3)):
        found = attacks.one_pixel(model, x[:pixels], y[:pixels], pixels=pixels, population=population, generations=1)
        assert pixels_changed(x[:pixels], found.numpy()).max() <= pixels


def test_one_pixel_reaches_targets(problem):
    model, x, y = problem
    targets = runners_up(model, x, y)
    found = attacks.one_pixel(model, x, y, pixels=3, target=targets, population=20, generations=5).numpy()
    changed = pixels_changed(x, found) > 0
    np.testing.assert_array_equal(labels_of(model, found) == targets, changed)
    assert changed.any()


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [1, 3])
def test_differential_evolution_fools_as_many_as_scipys_and_as_random_search_with_as_many_queries(pixels, problem):
    """In few generations it is no better than random search: its strength is to go on from what it has found."""
    model, x, y = problem

    def fooled(population, generations):
        how = dict(pixels=pixels, population=population, generations=generations)
        return sum(
            (labels_of(model, attacks.one_pixel(model, x, y, seed=seed, **how).numpy()) != y).sum() for seed in range(SEEDS)
        )

    by_scipy, at_random = (
        sum(found(model, *own, pixels, seed) for own in zip(x, y, strict=True) for seed in range(SEEDS))
        for found in (fooled_by_scipy, fooled_at_random)
    )
    few, many = fooled(*FEW), fooled(*MANY)
    assert few >= by_scipy > 0 and many >= at_random > 0, (few, by_scipy, many, at_random)


def with_genes(image, genes):
    """Copies of an image, one an individual, pixels of each replaced: rows, columns and values, [individuals, 3 · pixels]."""
    found = np.repeat(image[None], len(genes), 0)
    for row, column, value in np.split(np.float32(genes.T), genes.shape[1] // 3):
        found[np.arange(len(found)), np.minimum(8 * row, 7).astype(int), np.minimum(8 * column, 7).astype(int), 0] = value
    return found


def drawn(rng, count, pixels):
    each = [(*rng.random((2, count)), np.clip(rng.normal(0.5, 0.5, count), 0, 1)) for _ in range(pixels)]
    return np.concatenate(each).T


def fooled_by_scipy(model, image, label, pixels, seed):
    def score(genes):
        return tf.nn.softmax(attacks.predict(model, with_genes(image, genes.T))).numpy()[:, label]

    population, generations = FEW
    options = dict(
        strategy="rand1bin", mutation=0.5, recombination=1, tol=0, polish=False, vectorized=True, updating="deferred"
    )
    start = drawn(np.random.default_rng(seed), population, pixels)
    bounds = [(0, 1)] * (3 * pixels)
    found = scipy.optimize.differential_evolution(score, bounds, init=start, maxiter=generations, rng=seed + 1, **options)
    return labels_of(model, with_genes(image, found.x[None]))[0] != label


def fooled_at_random(model, image, label, pixels, seed):
    population, generations = MANY
    genes = drawn(np.random.default_rng(seed), population * (generations + 1), pixels)
    return (labels_of(model, with_genes(image, genes)) != label).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pixels": 0}, "pixels: expected at least 1, received 0"),
        ({"population": 3}, "population: expected at least 4, received 3"),
        ({"generations": 0}, "generations: expected at least 1, received 0"),
    ],
)
def test_wrong_arguments_of_one_pixel_are_refused(options, said, colours):
    with pytest.raises(UsageError, match=f"^{said}$"):
        attacks.one_pixel(*colours, **options)
