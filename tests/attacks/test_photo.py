"""Photographs: each transformation against a formula of its own, and what measures, records and the grammar make of them."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import scipy.ndimage

from adv_networks import attacks, evaluation
from adv_networks.attacks import FGS, Photo
from adv_networks.attacks.camera import TRANSFORMATIONS, Camera, homography
from adv_networks.errors import UsageError
from adv_networks.experiments import parse_attack
from tests.conftest import randomised

GREY = np.full((16, 12, 3), 0.5, np.float32)
# A picture that is as smooth as photographs are.
SMOOTH = scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((16, 12, 3)), (3, 3, 0)).astype(np.float32)
SMOOTH = (SMOOTH - SMOOTH.min()) / np.ptp(SMOOTH) * 0.6 + 0.2


def photograph(image, only, seed=0, **strengths):
    return Camera(**strengths).photograph(image, np.random.default_rng(seed), only=only)


@pytest.fixture(scope="module")
def classifier():
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "tanh"), keras.layers.Dense(4)]
    model = randomised(keras.Sequential(layers))
    x = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    y = np.argmax(model(x / np.float32(255)), 1)
    y[::5] = (y[::5] + 1) % 4
    return model, x, y


def test_homography_takes_the_points_to_the_others():
    rng = np.random.default_rng(0)
    start = np.array([[0, 0], [0, 9], [7, 0], [7, 9]], float)
    end = start + rng.uniform(-1, 1, start.shape)
    mapped = homography(start, end) @ np.append(start, np.ones((4, 1)), 1).T
    np.testing.assert_allclose((mapped[:2] / mapped[2]).T, end, atol=1e-9)


@pytest.mark.parametrize("only", TRANSFORMATIONS)
def test_a_transformation_of_no_strength_leaves_the_image(only):
    none = dict(misplaced=0, blur=0, least_contrast=1, most_contrast=1, brightness=0, noise=0, quality=100)
    np.testing.assert_allclose(photograph(SMOOTH, only, **none), SMOOTH, atol=0.03)


def test_contrast_and_brightness_are_linear():
    found = photograph(SMOOTH, "contrast", least_contrast=0.5, most_contrast=0.5)
    np.testing.assert_allclose(found, 0.25 + 0.5 * SMOOTH, atol=0.02)
    shifts = [(photograph(GREY, "brightness", seed, brightness=0.2) - GREY) for seed in range(200)]
    means = np.array([shift.mean() for shift in shifts])
    assert max(np.ptp(shift) for shift in shifts) < 1e-6
    assert np.abs(means).max() <= 0.2 and means.max() > 0.17 and means.min() < -0.17


def test_noise_is_averaged_over_the_quarters():
    image = np.full((40, 40, 1), 0.5, np.float32)
    spread = (photograph(image, "noise", noise=0.2) - image).std()
    assert abs(spread - 0.2 / 4) < 0.003


def test_blur_spreads_a_point_as_a_gaussian():
    point = np.zeros((33, 33, 1), np.float32)
    point[16, 16] = 1
    found = photograph(point, "blur", blur=6.0)[..., 0]
    places = np.arange(33) - 16
    variance = (found.sum(1) * places**2).sum() / found.sum()
    plain = photograph(point, "blur", blur=0.0)[..., 0]
    own = (plain.sum(1) * places**2).sum() / plain.sum()
    assert abs(found.sum() - plain.sum()) < 0.01 and abs(variance - own - (6 / 4) ** 2) < 0.1


def test_jpeg_loses_more_at_less_quality():
    noisy = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
    losses = [np.abs(photograph(noisy, "jpeg", quality=quality) - photograph(noisy, "none")).mean() for quality in (1, 20, 95)]
    assert losses[0] > 2 * losses[2] and losses[1] > losses[2]
    two_channels = photograph(SMOOTH[..., :2], "jpeg")
    assert two_channels.shape == (16, 12, 2) and np.abs(two_channels - SMOOTH[..., :2]).max() < 0.1


def test_corners_that_are_known_well_come_back():
    off = [np.abs(photograph(SMOOTH, "homography", misplaced=misplaced) - SMOOTH).mean() for misplaced in (0.0, 8.0)]
    assert off[0] < 0.02 < off[1]


def test_every_place_has_transformations_of_its_own_and_the_same_for_all_images_there():
    photo = Photo()
    first, other = (np.full((3, 8, 8, 1), value, np.float32) for value in (0.4, 0.6))
    shifts = [np.diff(photo.photographs(images, seed=(0, 2)).mean((1, 2, 3))) for images in (first, other)]
    assert (np.abs(shifts[0]) > 1e-3).all()
    np.testing.assert_array_equal(photo.photographs(first, seed=(0, 2)), photo.photographs(first, seed=(0, 2)))
    np.testing.assert_array_equal(photo.photographs(first, seed=(0, 2))[:1], photo.photographs(first[:1], seed=(0, 2)))
    assert (photo.photographs(first, seed=(0, 3)) != photo.photographs(first, seed=(0, 2))).any()


def test_destruction_rate_is_that_by_hand(classifier):
    model, x, y = classifier
    attack = attacks.named("photo:blur=4:attack=fgs:epsilon=0.1", 0.3)
    fgs, clean = FGS(epsilon=0.1), attacks.Clean()
    (of_clean,), (of_fgs,), (of_photo,) = (evaluation.correct_masks([model], x, y, one, model) for one in (clean, fgs, attack))
    adversarial = of_clean & ~of_fgs
    (record,) = evaluation.grid({"d": model}, {"d": model}, [attack], x, y)
    assert 0 < of_photo[adversarial].sum() < adversarial.sum() == record.destructible
    assert abs(record.measure("destruction rate") - 100 * of_photo[adversarial].mean()) < 1e-3
    assert record.images_of("destruction rate") == adversarial.sum() and record.epsilon == 0.1
    made = evaluation.measure([model], x, y, attack, model)[0]
    np.testing.assert_array_equal(made.right_wrapped, of_fgs)
    found = evaluation.craft_all(fgs, model, x, y)
    np.testing.assert_allclose(attack.photographs(found, seed=(0, 0)), evaluation.craft_all(attack, model, x, y), atol=1e-6)


def test_settings_are_those_of_both():
    attack = attacks.named("photo:only=jpeg:quality=30:attack=pgd:steps=3:epsilon=0.1", 0.3)
    settings = json.loads(attack.settings())
    assert (settings["kind"], settings["only"], settings["quality"]) == ("photo", "jpeg", 30)
    assert settings["attack"] == json.loads(attacks.named("pgd:steps=3", 0.1).settings())
    assert attack.name == "photo:only=jpeg:quality=30:attack=pgd:steps=3:epsilon=0.1"
    assert dataclasses.replace(attack, seed=1).settings() != attack.settings()
    assert attacks.named("photo", 0.3).title == "photo" and attack.access == "gradients" and not attack.learns
    assert attacks.named("photo:attack=universal", 0.3).learns
    assert parse_attack("photo:attack=fgs:source=standard").source == "standard"
    foreign = attacks.named("photo:attack=foolbox:LinfPGD:steps=3", 0.3)
    assert foreign.wrapped.arguments == (("steps", 3),) and foreign.packages == ("foolbox",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photo:quality=0", "attack photo: quality: expected a value of at least 1 and of at most 100, received 0"),
        ("photo:quality=101", "attack photo: quality: expected a value of at least 1 and of at most 100, received 101"),
        ("photo:only=rain", "attack photo: only: expected one of all, homography, blur, .*, received rain"),
        ("photo:blur=-1", "attack photo: blur: expected a value of at least 0 .*, received -1.0"),
        ("photo:attack=sepia", "attack: expected .*, received sepia"),
        ("photo:attack=fgs:blur=2", "attack fgs: expected an argument among .*, received blur"),
        (
            "photo:epsilon=0.1:attack=fgs",
            "attack photo: expected epsilon after attack=NAME, to which it belongs, received photo:.*",
        ),
        ("photo:least_contrast=2", "least_contrast: expected a value of at most most_contrast, 1.1, received 2"),
        ("photo:attack=worst", "attack photo: expected an attack that crafts images, received worst"),
    ],
)
def test_wrong_texts_are_refused(text, said):
    with pytest.raises(UsageError, match=f"^{said}$"):
        attacks.named(text, 0.3).check(classes=4)
