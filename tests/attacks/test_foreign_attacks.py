"""Other libraries' attacks on our classifiers against the libraries called by hand, and our attacks in their interfaces."""

from __future__ import annotations

import ast
import csv
import dataclasses
import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import adv_networks
from adv_networks import attacks, data, evaluation, networks
from adv_networks.attacks import FGS, PGD, ForeignAttack, Generator
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import experiment
from tests.conftest import SMALLEST, randomised

COUNT, EPSILON = 40, 0.1
FGS_OF_BOTH = "art:FastGradientMethod", "foolbox:LinfFastGradientAttack"


@pytest.fixture(scope="module")
def classifier():
    """A network with BN, where inference differs from training, images, and the labels that it gives three of four."""
    layers = [
        keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, strides=2), keras.layers.BatchNormalization(),
        keras.layers.ReLU(), keras.layers.Flatten(), keras.layers.Dense(10),
    ]  # fmt: skip
    model = randomised(keras.Sequential(layers))
    images = data.load("digits", "test", limit=COUNT).images
    y = model(images / np.float32(255), training=False).numpy().argmax(1).astype(np.int32)
    y[::4] = (y[::4] + 1) % 10
    return model, images, y


@pytest.fixture(scope="module")
def generators():
    """One that takes images, and one that takes noise."""
    return randomised(networks.released_mnist_generator((8, 8, 1), 2)), randomised(networks.g2((8, 8, 1), 1))


@pytest.fixture(scope="module")
def with_art():
    pytest.importorskip("art")
    from adv_networks.attacks.foreign import art

    return art


@pytest.fixture(scope="module")
def with_foolbox():
    pytest.importorskip("foolbox")
    from adv_networks.attacks.foreign import foolbox

    return foolbox


def attack_at_epsilon(text):
    return experiment("digits", "pgd", epsilon=EPSILON).attack(text)


def right_in_our_grid(name, model, images, y):
    attack = attack_at_epsilon(name)
    (record,) = evaluation.grid({"d": model}, {"d": model}, [attack], images, y)
    assert (record.attack, record.images, record.epsilon) == (attack.name, COUNT, attack.epsilon)
    return record.correct


def right_by_hand(model, adversarial, y):
    return int((model(adversarial, training=False).numpy().argmax(1) == y).sum())


def test_our_classifier_is_the_same_in_both_libraries(classifier, with_art, with_foolbox):
    model, images, _ = classifier
    x = images / np.float32(255)
    logits = model(x, training=False).numpy()
    np.testing.assert_allclose(with_art.classifier(model).predict(x), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(with_foolbox.classifier(model)(tf.constant(x)), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FGS_OF_BOTH)
def test_fast_gradient_sign_of_the_library_is_ours(name, classifier, with_art, with_foolbox):
    model, images, y = classifier
    attack = attack_at_epsilon(name)
    ours = evaluation.craft_all(FGS(epsilon=EPSILON), model, images, y)
    theirs = evaluation.craft_all(attack, model, images, y)
    assert np.isclose(ours, theirs, rtol=0, atol=1e-6).mean() > 0.999
    right = right_in_our_grid(name, model, images, y)
    assert right == right_by_hand(model, ours, y) and 0 < right < 0.75 * COUNT


@pytest.mark.parametrize(
    ("arguments", "epsilon"), [pytest.param(":norm=l2:epsilon=0.3", 0.3, marks=pytest.mark.slow), ("", None)]
)
def test_deepfool_in_our_grid_is_foolbox_by_hand(arguments, epsilon, classifier, with_foolbox):
    import foolbox

    model, images, y = classifier
    wrapped = foolbox.TensorFlowModel(lambda x: model(x, training=False), bounds=(0, 1))
    x, labels = tf.constant(images / np.float32(255)), tf.constant(y, tf.int64)
    raw, _, fooled = foolbox.attacks.L2DeepFoolAttack(steps=4)(wrapped, x, labels, epsilons=epsilon)
    if epsilon is None:  # It minimises the l2 norm, and is judged in linf.
        fooled = fooled.numpy() & (np.abs(raw - x).max((1, 2, 3)) <= EPSILON)
    right = right_in_our_grid(f"foolbox:L2DeepFoolAttack:steps=4{arguments}", model, images, y)
    assert right == COUNT - np.sum(fooled) and 0 < right < 0.75 * COUNT


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_targeted_attack_of_a_library_gets_targets_and_what_it_changed_is_told_from_what_the_ball_keeps(classifier, with_art):
    model, images, y = classifier
    for epsilon in (64, 1e-3):
        attack = attack_at_epsilon(f"art:SaliencyMapMethod:gamma=0.2:norm=l0:epsilon={epsilon}")
        found = evaluation.measure([model], images[:5], y[:5], attack, model)[0]
        # The others are there already.
        apart = model(images[:5] / np.float32(255), training=False).numpy().argmax(1) == y[:5]
        assert found.changed[apart].all() and apart.any()
        assert (found.distances["l0"][apart] > 0).all() == (epsilon == 64)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name", ["art:FastGradientMethod", f"foolbox:LinfBasicIterativeAttack:steps=1:random_start=False:abs_stepsize={EPSILON}"]
)
def test_targeted_fast_gradient_sign_of_the_library_is_ours(name, classifier, with_art, with_foolbox):
    model, images, y = classifier
    ours = evaluation.craft_all(attack_at_epsilon("fgs_targeted:target=next"), model, images, y)
    theirs = evaluation.craft_all(attack_at_epsilon(f"{name}:target=next"), model, images, y)
    assert np.isclose(ours, theirs, rtol=0, atol=1e-6).mean() > 0.999


def test_attack_that_is_always_targeted_moves_images_to_the_runner_up(classifier, with_foolbox):
    model, images, y = classifier
    x, y = images[:12] / np.float32(255), y[:12]
    logits = model(x, training=False).numpy()
    logits[np.arange(len(y)), y] = -np.inf
    attack = attack_at_epsilon("foolbox:GenAttack:steps=8:population=5:epsilon=0.3")
    labels = (model(images, training=False).numpy().argmax(1) for images in (x, evaluation.craft_all(attack, model, x, y)))
    before, after = (np.mean(own == logits.argmax(1)) for own in labels)
    assert after > before


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_carlini_and_wagner_in_our_grid_is_art_by_hand(classifier, with_art):
    from art.attacks.evasion import CarliniL2Method
    from art.estimators.classification import TensorFlowV2Classifier

    model, images, y = classifier
    wrapped = TensorFlowV2Classifier(
        model, nb_classes=10, input_shape=(8, 8, 1), clip_values=(0, 1),
        loss_object=keras.losses.CategoricalCrossentropy(from_logits=True),
    )  # fmt: skip
    x, epsilon = images / np.float32(255), 1
    settings = dict(max_iter=5, binary_search_steps=1, learning_rate=0.2, initial_const=10)
    found = CarliniL2Method(wrapped, batch_size=COUNT, verbose=False, **settings).generate(x, y)
    size = np.sqrt(((found - x) ** 2).sum((1, 2, 3)))
    expected = right_by_hand(model, np.where((size <= epsilon)[:, None, None, None], found, x), y)
    name = ":".join(
        ["art:CarliniL2Method", *(f"{key}={value}" for key, value in settings.items()), f"norm=l2:epsilon={epsilon}"]
    )
    right = right_in_our_grid(name, model, images, y)
    assert right == expected and right < 0.75 * COUNT


def test_draws_at_random_are_the_same_again_and_leave_numpys_generator_alone(classifier, with_foolbox):
    model, images, y = classifier
    attack = attack_at_epsilon("foolbox:LinfAdditiveUniformNoiseAttack")
    state = np.random.get_state()[1].copy()
    first, again = (evaluation.craft_all(attack, model, images, y) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - images / np.float32(255)).max() > EPSILON / 2
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    other = evaluation.craft_all(dataclasses.replace(attack, seed=1), model, images, y)
    assert np.abs(first - other).max() > EPSILON / 2


@pytest.mark.parametrize(
    ("moved", "counts"),
    [(0.1, True), (0.1 + 5e-7, True), (0.1 + 1e-5, False), (-0.1, True), (0.6, False), (np.nan, False)],
)
def test_what_leaves_the_ball_or_the_box_is_the_image_as_it_was(moved, counts, classifier, with_foolbox, monkeypatch):
    attack = ForeignAttack(epsilon=EPSILON, library="foolbox", algorithm="far")
    x = np.full((3, 8, 8, 1), 0.5, np.float32)
    x[1] = 0.95  # 0.1 farther it is no image

    def runner(_):
        return lambda model, x, y: x + np.float32(moved)

    monkeypatch.setattr(with_foolbox, "runner", runner)
    found = attack.craft(classifier[0], x, np.zeros(3, int), seed=0).numpy()
    np.testing.assert_array_equal(found[1], x[1] + moved if moved == -0.1 else x[1])
    np.testing.assert_array_equal(found[[0, 2]], x[[0, 2]] + np.float32(moved) if counts else x[[0, 2]])


# --- Ours as theirs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(classifier, generators):
    """Attacks of ours, what they are crafted on, and their images by the functions of `attacks`."""
    model, images, y = classifier
    x, seed = images / np.float32(255), (0, 0)  # of the first batch of a grid
    of_image, of_noise = generators
    made = {
        "generator": (Generator, of_image, attacks.generator(of_image, x, y, EPSILON)),
        "generator of noise": (Generator, of_noise, attacks.generator(of_noise, x, y, EPSILON, seed=seed)),
        "pgd": (PGD, model, attacks.pgd(model, x, y, EPSILON, step_size=0.25 * EPSILON, seed=seed)),
    }
    return {name: (kind(epsilon=EPSILON), source, found.numpy()) for name, (kind, source, found) in made.items()}


def test_our_attacks_are_attacks_of_foolbox(ours, classifier, with_foolbox):
    model, images, y = classifier
    x, labels = tf.constant(images / np.float32(255)), tf.constant(y, tf.int64)
    wrapped = with_foolbox.classifier(model)
    for attack, source, expected in ours.values():
        made = with_foolbox.DeclaredAttack(attack, source)
        found, clipped, fooled = made(wrapped, x, labels, epsilons=[EPSILON, EPSILON / 2])
        np.testing.assert_array_equal(found[0], expected)
        assert COUNT - fooled[0].numpy().sum() == right_by_hand(model, expected, y)
        assert np.abs(clipped[1] - x).max() <= EPSILON / 2 + 1e-6
        np.testing.assert_array_equal(made.repeat(2)(wrapped, x, labels, epsilons=EPSILON)[2], fooled[0])


def test_our_attacks_are_attacks_of_the_toolbox(ours, classifier, with_art):
    model, images, y = classifier
    wrapped, x = with_art.classifier(model), images / np.float32(255)
    for attack, source, expected in ours.values():
        made = with_art.DeclaredAttack(wrapped, attack, source)
        np.testing.assert_array_equal(made.generate(x, y), expected)
        np.testing.assert_array_equal(made.generate(x, keras.utils.to_categorical(y, 10)), expected)
    predicted = model(x, training=False).numpy().argmax(1)
    np.testing.assert_array_equal(made.generate(x), made.generate(x, predicted))


def test_other_ranges_and_criteria_are_refused(ours, classifier, with_art, with_foolbox):
    import foolbox
    from art.estimators.classification import TensorFlowV2Classifier

    model, images, y = classifier
    attack, source, _ = ours["generator"]
    with pytest.raises(UsageError, match=r"clip_values: expected \(0, 1\), received"):
        with_art.DeclaredAttack(TensorFlowV2Classifier(model, 10, (8, 8, 1), clip_values=(0, 255)), attack, source)
    made, x = with_foolbox.DeclaredAttack(attack, source), tf.constant(images / np.float32(255))
    with pytest.raises(UsageError, match=r"bounds: expected \(0, 1\), received \(-1, 1\)"):
        made(with_foolbox.classifier(model).transform_bounds((-1, 1)), x, tf.constant(y, tf.int64), epsilons=EPSILON)
    with pytest.raises(UsageError, match="criterion: expected Misclassification, received TargetedMisclassification"):
        made(with_foolbox.classifier(model), x, foolbox.TargetedMisclassification(tf.constant(y)), epsilons=EPSILON)


# --- The command line ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_has_a_column_and_a_record_for_each(with_foolbox, run, tmp_path):
    small = "foolbox:L2DeepFoolAttack:steps=2:norm=l2:epsilon=0.5"
    options = ("--scale=tiny", "--steps=60", "--learning_rate=0.05", "--test_images=60", "--epsilon=0.05")
    command = ("--method=standard", f"--attack={FGS_OF_BOTH[1]},{small}", *options, "--noprogress")
    code, output, error = run(*command)
    assert (code, error) == (0, "")
    heading, numbers = output.splitlines()[1:3]
    assert heading.split("  ")[-2:] == [
        "foolbox:LinfFastGradientAttack (linf ≤ 0.05)",
        "foolbox:L2DeepFoolAttack:steps=2 (l2 ≤ 0.5)",
    ]
    clean, fgs, _, of_foolbox, _ = map(float, re.findall(r"\d+\.\d\d", numbers))
    assert of_foolbox == fgs < clean
    (file,) = (tmp_path / "results").rglob("records.csv")
    with file.open() as handle:
        records = {row["attack"]: row for row in csv.DictReader(handle)}
    settings = json.loads(records["foolbox:L2DeepFoolAttack:steps=2"]["attack_settings"])
    named = {key: settings[key] for key in ("library", "algorithm", "arguments", "norm", "epsilon")}
    assert named == dict(library="foolbox", algorithm="L2DeepFoolAttack", arguments=[["steps", 2]], norm="l2", epsilon=0.5)
    assert "foolbox 3" in records[FGS_OF_BOTH[1]]["versions"] and "foolbox" not in records["fgs"]["versions"]
    written = file.stat().st_mtime_ns
    assert run(*command)[:2] == (0, output) and file.stat().st_mtime_ns == written
    code, of_table, error = run("--table=digits", command[1], *options, "--noprogress", "--finished_only")
    assert (code, error) == (0, "") and re.search(f"{fgs:.2f} .* {of_foolbox:.2f}", of_table)
    (table,) = (tmp_path / "results").rglob("digits-attacks.csv")
    assert "foolbox:L2DeepFoolAttack:steps=2 (l2 ≤ 0.5)" in table.read_text(encoding="utf-8")


@pytest.mark.slow
def test_own_classifier_meets_them_too(classifier, with_foolbox, run, tmp_path):
    classifier[0].save(tmp_path / "own.keras")
    declared = ("--input_range=0,1", "--dataset=digits", "--test_images=30", "--epsilon=0.05")
    code, output, error = run(f"--model={tmp_path}/own.keras", *declared, f"--attack={FGS_OF_BOTH[1]}")
    assert (code, error) == (0, "")
    fgs, of_foolbox = re.findall(
        r"^(?:FGS|foolbox:LinfFastGradientAttack \(linf ≤ 0\.05\)) +(\d+\.\d\d)$", output, re.MULTILINE
    )
    assert fgs == of_foolbox


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--attack=torchattacks:PGD"], 2, "attack: expected one of .*, art:CLASS or foolbox:CLASS, received torchattacks"),
        (["--attack=foolbox:LinfPGD:steps"], 2, "expected NAME.* received foolbox:LinfPGD:steps$"),
        (["--attack=foolbox:LinfPDG"], 2, "expected one of the .* of foolbox, for instance LinfPGD, .*, received LinfPDG"),
        (["--attack=foolbox:LinfPGD:size=3"], 2, "expected an argument among .*, norm, .*steps, target, received size"),
        (
            ["--attack=foolbox:LinfPGD:target=true"],
            2,
            "target of .*: expected one of runner_up, least_likely, next, received true",
        ),
        (
            ["--attack=art:TargetedUniversalPerturbation"],
            2,
            r"another one than art:TargetedUniversalPerturbation, which asks the classifier about images outside \[0,1\]",
        ),
        (["--attack=art:DeepFool:target=next"], 2, "attack art:DeepFool.*: expected an argument among .*, received target"),
        (["--attack=foolbox:L2PGD"], 2, "norm of foolbox:L2PGD: expected l2, its own, .* received linf"),
        (["--attack=foolbox:L2PGD:norm=l2"], 2, "epsilon of foolbox:L2PGD:norm=l2: expected a value .* received none"),
        (["--attack=foolbox:L2PGD:norm=l3"], 2, "norm of foolbox:L2PGD:norm=l3: expected one of linf, l2, l1, l0, received l3"),
        (["--attack=foolbox:L2PGD:epsilon=-1"], 2, "epsilon of .*: expected a value above 0, received -1"),
        (["--attack=foolbox:LinfPGD", "--bn_evaluation=batch"], 2, "bn_evaluation: expected moving .* received batch"),
        (
            ["--attack=foolbox:LinfPGD", "--method=generator"],
            2,
            "classifiers to attack with foolbox:LinfPGD, received method generator",
        ),
        (["--attack=foolbox:LinfPGD", "--table=claims"], 2, "--attack is for one run, --model, or a --table other than"),
        (["--attack=foolbox:LinfPGD", "--table=digits", "--plan"], 2, "excludes --plan"),
        (["--attack=foolbox:LinfPDG", "--table=digits"], 2, "expected one of the .* of foolbox, .* received LinfPDG"),
        (
            ["--attack=foolbox:LinfPGD", "--table=5"],
            2,
            "attack: expected classifiers to attack with foolbox:LinfPGD, received table 5",
        ),
    ],
)
def test_wrong_attacks_are_one_line_before_any_training(arguments, code, said, run, with_art, with_foolbox, tmp_path):
    found, output, error = run(*arguments, *SMALLEST)
    assert (found, output, error.count("\n")) == (code, "", 1) and re.search(said, error), error
    assert not (tmp_path / "runs").exists()


def test_library_that_is_not_installed_is_one_line(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "art", None)
    monkeypatch.delitem(sys.modules, "adv_networks.attacks.foreign.art", raising=False)
    code, output, error = run("--attack=art:CarliniL2Method", *SMALLEST)
    assert (code, output, error.count("\n")) == (1, "", 1)
    assert "expected the package adversarial-robustness-toolbox, found none" in error
    assert not (tmp_path / "runs").exists()


def test_failure_of_the_library_is_one_line(classifier, with_foolbox):
    model, images, y = classifier
    attack = attack_at_epsilon("foolbox:LinfPGD:steps=many")
    with pytest.raises(UserError, match="attack foolbox:LinfPGD:steps=many: expected adversarial images, found TypeError: "):
        attack.craft(model, images / np.float32(255), y, seed=0)


def test_only_the_interfaces_import_the_libraries():
    root = Path(adv_networks.__file__).parent
    importing = set()
    for file in root.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if not re.search(r"\b(art|foolbox|eagerpy)\b", text):
            continue
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(re.match(r"(art|foolbox|eagerpy)\b", name) for name in names):
                importing.add(file.stem)
    assert importing == {"art", "foolbox"}


def test_attacks_without_a_library_have_the_settings_of_the_first_records():
    spec = experiment("digits", "pgd")
    assert "library" not in spec.attack("pgd").settings()
    own = {spec.attack(f"foolbox:LinfPGD{rest}").settings() for rest in ("", ":steps=3", ":norm=l2:epsilon=1", ":epsilon=1")}
    assert len(own) == 4
