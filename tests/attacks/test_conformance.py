"""What every attack of the registry keeps to, whatever it does: a new one is held to it by being declared."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks
from adv_networks.attacks.crafting import craft_all
from adv_networks.attacks.distances import distances
from adv_networks.errors import UsageError
from adv_networks.experiments import ATTACKS, NORMS
from adv_networks.runtime import trace_counts
from tests.conftest import randomised

# So few that the suite stays fast; what is held here does not depend on how long an attack works.
FEW = {
    "steps": 3, "restarts": 2, "targets": 2, "searches": 2, "generations": 2, "population": 8, "c": 5,
    "passes": 2, "rounds": 2, "epochs": 2,
}  # fmt: skip
CRAFTED = [name for name, declared in ATTACKS.items() if not declared.kind.composed]
each_attack = pytest.mark.parametrize("name", CRAFTED)
# One of each kind of search; in further norms and of two classes the others have graphs of their own, and are slow.
REPRESENTATIVES = ("pgd", "evading_pgd", "apgd_ce", "deepfool", "square", "universal")


def slow_unless(quick: bool, *values, **options):
    return pytest.param(*values, marks=() if quick else pytest.mark.slow, **options)


def is_first_norm(name: str, norm: str) -> bool:
    """Whether other tests trace the attack in that norm, or it is refused."""
    norms = few(name).norms
    return norm in (norms[0], "linf") or norm not in norms


def few(name: str, *, epsilon: float = 0.2, norm: str | None = None):
    """The attack made short; in its first norm, and within ε where it would go on without."""
    declared = ATTACKS[name]
    norm = norm or ("linf" if declared.kind.needs_ball else declared.kind.norms[0])
    shortened = "".join(
        f":{argument}={FEW[argument]}"
        for argument, field in declared.fields.items()
        if argument in FEW and declared.arguments.get(argument, field.default)
    )
    ball = "" if declared.kind.needs_ball else f":epsilon={epsilon}:norm={norm}"
    return attacks.named(name + shortened + ball, epsilon, norm=norm)


def classifier() -> keras.Model:
    """A small network with BN, which has other statistics in training."""
    layers = [
        keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(12, "relu"), keras.layers.BatchNormalization(),
        keras.layers.Dense(5),
    ]  # fmt: skip
    return randomised(keras.Sequential(layers))


@pytest.fixture(scope="module")
def models():
    image = keras.Input((6, 6, 1), name="image")
    generator = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", activation="tanh")(image))
    # Of two classes one whose logits are of another type than its weights.
    two = keras.Model(image, keras.ops.cast(keras.layers.Dense(2)(keras.layers.Flatten()(image)), "float16"))
    return {2: randomised(two), 5: classifier(), "generator": randomised(generator)}


def source_of(attack, models, classes: int = 5) -> keras.Model:
    return models["generator" if attack.access == "generator" else classes]


def examples(count: int = 7, classes: int = 5):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 6, 6, 1)).astype(np.uint8), rng.integers(0, classes, count)


def crafted(attack, model, images, labels, *, seed=(0, 0)):
    state = attack.fit(model, images, labels) if attack.learns else None
    return attack.craft(model, images, labels, seed=seed, state=state).numpy()


@pytest.fixture(scope="module")
def learned(models):
    """What an attack learns of the examples, where it learns, found once."""

    @functools.cache
    def state(name):
        attack = few(name)
        return attack.fit(source_of(attack, models), *examples()) if attack.learns else None

    return state


@pytest.mark.parametrize(
    ("name", "norm"),
    [slow_unless(name in REPRESENTATIVES or is_first_norm(name, norm), name, norm) for name in CRAFTED for norm in NORMS],
)
def test_results_are_images_within_the_ball(name, norm, models, learned):
    attack = few(name, epsilon=0.2 if norm == "linf" else 1.0, norm=norm)
    if attack.has_ball and norm not in attack.norms:
        with pytest.raises(UsageError, match=rf"norm: expected .* for attack .*, received {norm}"):
            attack.check(classes=5)
        return
    # In the last of several norms with two classes, whose graphs the test of these shares.
    classes = 2 if norm == attack.norms[-1] != attack.norms[0] and not ATTACKS[name].kind.wraps else 5
    images, labels = examples(classes=classes)
    x = images / np.float32(255)
    if ATTACKS[name].kind.wraps and attack.learns:  # What it learns knows of no norm.
        found = attack.craft(source_of(attack, models), x, labels, state=learned(name)).numpy()
    else:
        found = crafted(attack, source_of(attack, models, classes), x, labels)
    assert found.dtype == np.float32 and found.shape == x.shape
    assert found.min() >= 0 and found.max() <= 1
    if attack.has_ball or not attack.has_source:
        assert (distances(x, found, norm) <= (attack.epsilon if attack.has_ball else 0) + 1e-5).all()


@each_attack
def test_result_is_a_function_of_the_seed_in_bytes_or_floats_and_leaves_the_model_as_it_was(name, models):
    attack, (images, labels) = few(name), examples()
    model = source_of(attack, models)
    weights = [weight.copy() for weight in model.get_weights()]
    first, again, of_floats = (
        crafted(attack, model, x, labels, seed=(3, 1)) for x in (images, images, tf.constant(images / np.float32(255)))
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first if first.max() <= 1 else first / 255, of_floats, atol=1e-6)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@each_attack
@pytest.mark.parametrize("count", [0, 1, 9])
def test_any_number_of_images_is_attacked_batch_by_batch(name, count, models, learned):
    attack, (images, labels) = few(name), examples(max(count, 1))
    images, labels = images[:count], labels[:count]
    if not count:
        with pytest.raises(UsageError, match="images: expected at least one"):
            craft_all(attack, source_of(attack, models), images, labels)
        return
    assert craft_all(attack, source_of(attack, models), images, labels, state=learned(name)).shape == images.shape


@pytest.mark.parametrize("name", [slow_unless(name in REPRESENTATIVES, name) for name in CRAFTED])
def test_two_classes_are_attacked_or_refused_in_one_line(name, models):
    attack, (images, labels) = few(name, norm=few(name).norms[-1]), examples(classes=2)
    try:
        attack.check(classes=2)
    except UsageError as error:
        assert "classes: expected at least" in str(error)
        return
    assert crafted(attack, source_of(attack, models, 2), images, labels).shape == images.shape


@each_attack
def test_a_ball_of_radius_zero_leaves_the_images_as_they_are(name, models):
    if ATTACKS[name].kind.wraps:
        pytest.skip("its images are in no ball")
    attack, (images, labels) = dataclasses.replace(few(name), epsilon=0.0), examples()
    x = images / np.float32(255)
    np.testing.assert_allclose(crafted(attack, source_of(attack, models), x, labels), x, atol=1e-7)


@each_attack
def test_no_batch_size_traces_again(name, models, learned):
    attack = few(name)
    model = source_of(attack, models)
    attack.craft(model, *examples(9), state=learned(name))
    before = dict(trace_counts(model))
    for count in (3, 5):
        attack.craft(model, *examples(count), state=learned(name))
    assert trace_counts(model) == before
    if attack.learns:
        attack.fit(model, *examples(3))
        assert trace_counts(model) == before


@each_attack
def test_wrong_labels_and_images_are_refused_in_one_line(name, models, learned):
    attack, (images, labels) = few(name), examples()
    model = source_of(attack, models)
    if attack.access == "generator" or not attack.has_ball:
        pytest.skip("it reads no labels")
    reads_labels = name not in ("least_likely", "fgs_predicted", "iterative_least_likely")
    wrong = [(images / 127.5 - 1, labels), (images.astype(int), labels)]
    wrong += [(images, labels + 5), (images, labels[1:]), (images, labels / 1.0), (images, np.eye(5)[labels])] * reads_labels
    for x, y in wrong:
        with pytest.raises(UsageError, match=r"^(images|labels): expected .*, received"):
            attack.craft(model, x, y, state=learned(name))


class OfOnesOwn(keras.Model):
    """A model of the user's own class, which says neither what it takes nor what it returns."""

    def __init__(self, outputs):
        super().__init__()
        self.flatten, self.dense, self.outputs_of = keras.layers.Flatten(), keras.layers.Dense(5), outputs

    def call(self, x):
        return self.outputs_of(self.dense(self.flatten(x)))


@pytest.fixture(scope="module")
def own_models():
    outputs = {
        "logits": lambda z: z, "one logit": lambda z: z[:, :1], "one number": lambda z: z[:, 0], "grey": lambda z: z[:, None],
        "two outputs": lambda z: (z, z), "named": lambda z: {"logits": z},
    }  # fmt: skip
    made = {name: OfOnesOwn(function) for name, function in outputs.items()}
    for model in made.values():
        model(np.zeros((1, 6, 6, 1)))
    return made


@each_attack
def test_a_radius_is_one_number(name):
    attack = few(name)
    if ATTACKS[name].kind.wraps:
        pytest.skip("its ball is that of the attack that it works on")
    of_numpy = dataclasses.replace(attack, epsilon=np.float32(0.25))
    assert of_numpy.settings() == dataclasses.replace(attack, epsilon=0.25).settings()
    for epsilon in (np.full(7, 0.1), np.full((7, 1, 1, 1), 0.1), [0.1], tf.fill([3], 0.1), float("nan"), -0.1, "0.1", None):
        with pytest.raises(UsageError, match=r"^epsilon: expected one number of at least 0, received"):
            dataclasses.replace(attack, epsilon=epsilon)


@pytest.fixture(scope="module")
def without_channels():
    shapes = (6, 6), (36,)
    return {s: keras.Sequential([keras.Input(s), keras.layers.Flatten(), keras.layers.Dense(5)]) for s in shapes}


@each_attack
@pytest.mark.parametrize("shape", [(6, 6), (36,)])
def test_images_without_channels_are_refused_in_one_line(name, shape, without_channels):
    attack, (images, labels) = few(name), examples()
    if attack.access == "generator" or not attack.has_ball or attack.learns:
        pytest.skip("it is crafted on no classifier")
    with pytest.raises(
        UsageError, match=r"images: expected \[batch, height, width, channels\], received \[7, 6, 6\]|\[7, 36\]"
    ):
        attack.craft(without_channels[shape], images.reshape(7, *shape), labels)


@each_attack
def test_models_of_ones_own_class_pass_the_same_door(name, own_models):
    attack, (images, labels) = few(name), examples()
    if attack.access == "generator" or not attack.has_ball or attack.learns:
        pytest.skip("it reads no labels")
    reads_labels = name not in ("least_likely", "fgs_predicted", "iterative_least_likely")
    wrong = [("logits", images, labels + 5, "labels: expected integers from 0 to 4, received")] * reads_labels
    wrong += [("logits", images[:, 1:], labels, r"takes images \[batch, 5, 6, 1\].*, received ValueError: .*expected axis -1")]
    received = {
        "one logit": r"of at least 2 classes, received one logit \(",
        "one number": r"received \[batch\]$", "grey": r"received \[batch, 1, 5\]$",
        "two outputs": "received a tuple of 2$", "named": "received a dict of 1$",
    }  # fmt: skip
    wrong += [(kind, images, labels % 2, message) for kind, message in received.items()]
    for kind, x, y, message in wrong:
        with pytest.raises(UsageError, match=message):
            attack.craft(own_models[kind], x, y)


def test_every_name_has_a_line_and_arguments_with_help():
    for name, declared in ATTACKS.items():
        assert declared.title and "\n" not in declared.title, name
        assert all(field.metadata["help"] for field in declared.fields.values())
