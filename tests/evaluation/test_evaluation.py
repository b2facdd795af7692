"""Accuracies, the grid and its records, and what is refused."""

import dataclasses
import multiprocessing
from pathlib import Path

import keras
import numpy as np
import pytest

from adv_networks import attacks, data, evaluation, networks, runtime
from adv_networks.attacks import APGD
from adv_networks.attacks.composed import Clean, Worst
from adv_networks.defences import STATIC_ATTACKS
from adv_networks.defences.static_examples import static_examples
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import experiment
from adv_networks.runtime import devices
from adv_networks.storage import records
from tests.conftest import randomised

COUNT = evaluation.BATCH_SIZE + 3
# What recording attacks have crafted: (attack, source, whether by batch statistics, number of the batch, images).
CRAFTED: list[tuple] = []


def recording(kind, **settings):
    """An attack of that kind, which remembers what it crafts."""

    class Recording(kind):
        def craft(self, source, x, y, *, seed=0, training=False, state=None):
            adversarial = super().craft(source, x, y, seed=seed, training=training, state=state)
            CRAFTED.append((self.name, source, training, seed[1], adversarial))
            return adversarial

    return Recording(**settings)


CLEAN, FGS, PGD = recording(Clean), recording(attacks.FGS, epsilon=0.1), recording(attacks.PGD, epsilon=0.1)


def first_batches():
    return [(attack, source) for attack, source, _, number, _ in CRAFTED if number == 0]


@pytest.fixture(scope="module")
def images():
    loaded = data.load("digits", "train")
    return data.Images(loaded.images[:COUNT], loaded.labels[:COUNT])


@pytest.fixture(scope="module")
def models():
    return {name: randomised(networks.d1((8, 8, 1), 10, 4), seed=seed) for seed, name in enumerate("abc")}


def test_accuracy_counts_every_image_the_last_partial_batch_included(images, models):
    model = models["a"]
    predicted = np.argmax(model(images.images / np.float32(255), training=False), 1)
    expected = (predicted == images.labels).sum() / COUNT
    assert evaluation.accuracy(model, images.images, images.labels) == pytest.approx(expected, abs=1e-12)
    assert evaluation.accuracy(model, images.images / np.float32(255), images.labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:, None]), r"labels: expected integers \[253\], received int32 \[253, 1\]"),
        (lambda x, y: (x, y[1:]), r"labels: expected integers \[253\], received int32 \[252\]"),
        (lambda x, y: (x, y.astype(float)), r"labels: expected integers \[253\], received float64 \[253\]"),
        (lambda x, y: (x.astype(int), y), r"images: expected uint8, or floats in \[0,1\], received int64 from 0 to 255"),
        (lambda x, y: (x.astype(float), y), r"images: expected uint8, or floats in \[0,1\], received float64 from 0 to 255"),
        (lambda x, y: (x / np.float32(127.5) - 1, y), "received float32 from -1 to 1"),
        (lambda x, y: (x * np.nan, y), "received float64 from nan to nan"),
        (lambda x, y: ([x[0], x[1, :4]], y[:2]), r"images: expected an array, received list \(.*inhomogeneous"),
        (lambda x, y: (x, [[0], [0, 1]]), r"labels: expected an array, received list \(.*inhomogeneous"),
        (lambda x, y: (np.ma.masked_less(x, 9), y), "images: expected an array, received masked values"),
        (lambda x, y: (x, np.ma.masked_equal(y, 3)), "labels: expected an array, received masked values"),
        (lambda x, y: (x.astype(np.longdouble), y), r"images: expected uint8, or floats in \[0,1\], received (long|float)"),
    ],
    ids=[
        "labels [N,1]", "a label missing", "float labels", "int64 images", "floats to 255", "images in [-1,1]", "nan",
        "ragged images", "ragged labels", "masked images", "masked labels", "long doubles",
    ],
)  # fmt: skip
def test_images_and_labels_of_another_kind_are_refused(change, message, images, models):
    with pytest.raises(UsageError, match=message):
        evaluation.accuracy(models["a"], *change(*images))


def test_each_attack_counts_even_if_it_shares_its_name_with_another(images, models):
    few = images.images[:20], images.labels[:20]
    found = evaluation.evaluate(
        models["a"], *few, ["fgs:epsilon=0.01", "fgs:epsilon=0.9", "fgs", "clean", "clean"], epsilon=0.01
    )
    assert list(found) == ["fgs (linf ≤ 0.01)", "fgs (linf ≤ 0.9)", "clean", "worst"]
    alone = [evaluation.evaluate(models["a"], *few, ["fgs"], epsilon=epsilon)["fgs"] for epsilon in (0.01, 0.9)]
    assert list(found.values())[:2] == alone and found["worst"] <= min(found.values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: evaluation.evaluate(m, x, y, [], epsilon=0.1), "attacks: expected at least one, received none"),
        (lambda m, x, y: evaluation.evaluate(m, x, y, "pgd", epsilon=0.1), "attacks: expected a list of attacks, received pgd"),
        (
            lambda m, x, y: evaluation.evaluate(m, x, y, [FGS, dataclasses.replace(FGS, label="predicted")], epsilon=0.1),
            r"attacks: expected attacks of different titles, received two called fgs \(linf ≤ 0.1\)",
        ),
        (lambda m, x, y: evaluation.accuracy(m, x, y, attack="pgd"), "attack: expected an attack such as .*, received pgd"),
        (lambda m, x, y: evaluation.accuracy(m, x, y, attack=attacks.PGD), "attack: .*, received the class PGD"),
        (lambda m, x, y: evaluation.accuracy(m, x, y, bn_evaluation="own"), "bn_evaluation: expected one of moving, batch"),
        (
            lambda m, x, y: evaluation.evaluate(m, x, y, ["universal"], epsilon=0.1, training=(x, y[:-1])),
            r"labels: expected integers \[253\], received int32 \[252\]",
        ),
        (lambda m, x, y: evaluation.evaluate(m, x, y, ["universal"], epsilon=0.1, training=(x,)), "training: expected"),
        (lambda m, x, y: attacks.named(None, 0.1), "attack: expected a text such as pgd:steps=100, received None"),
        (lambda m, x, y: attacks.named("pgd:steps=2:steps=3", 0.1), "attack: expected each argument once"),
        (lambda m, x, y: attacks.named("pgd\nfgs", 0.1), r"attack: expected .*, received pgd\\nfgs$"),
        (lambda m, x, y: attacks.named("pgd", np.full((40, 1), 0.1)), r"epsilon of pgd: .*, received an array \[40, 1\]$"),
        (lambda m, x, y: attacks.named("pgd", 8), "epsilon: expected at most 1 in linf .*, received 8"),
        (lambda m, x, y: attacks.fgs(m, x, y, 8), "epsilon: expected at most 1 in linf .*, received 8"),
        (lambda m, x, y: attacks.PGD(epsilon=0.1, steps=0), "steps: expected a value of at least 1"),
        (lambda m, x, y: attacks.PGD(epsilon=0.1, steps=2.5), "steps: expected a value of type int, received 2.5"),
        (lambda m, x, y: attacks.PGD(epsilon=0.1, seed="3"), "seed: expected a whole number of 32 bits, received 3"),
        (lambda m, x, y: attacks.pgd(m, x, y, 0.1, seed=(1, 2, 3)), "seed: expected a whole number of 32 bits, or two"),
    ],
)
def test_wrong_attacks_and_arguments_are_refused_in_one_line(call, message, images, models):
    with pytest.raises(UsageError, match=message) as refusal:
        call(models["a"], *images)
    assert str(refusal.value).isprintable()


def test_models_without_gradients_and_models_of_one_batch_size_are_refused(images, models):
    def made(outputs, *inputs):
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs(*inputs))

    model, image = models["a"], keras.Input((8, 8, 1))
    for own, message in (
        (made(lambda x: model(x / 255), keras.Input((8, 8, 1), dtype="uint8")), "expected floats in and out, received uint8"),
        (made(lambda x: model(x) > 0, image), "expected floats in and out, received bool"),
        (
            made(lambda x, y: model(x) + model(y), image, keras.Input((8, 8, 1))),
            "expected one input, images, received a model of 2",
        ),
        (
            made(lambda x: keras.ops.reshape(model(x), (7, 10)), keras.Input(batch_shape=(7, 8, 8, 1))),
            "expected a model that can be computed for any batch of images, found InvalidArgumentError: ",
        ),
    ):
        with pytest.raises(UserError, match=message) as refusal:
            evaluation.accuracy(own, *images, attack=FGS)
        assert str(refusal.value).isprintable()


def test_logits_that_are_not_finite_are_no_predictions(images, models):
    broken = keras.models.clone_model(models["a"])
    broken.get_layer("logits").bias.assign([np.nan] + [0] * 9)
    with pytest.raises(UserError, match="d1: expected finite logits, found infinite or NaN ones for 250 of 250 images"):
        evaluation.accuracy(broken, *images)


def test_transfer_accuracy_is_of_the_targets_labels_on_the_sources_adversaries(images, models):
    x, y = images.images / np.float32(255), images.labels
    adversarial = attacks.fgs(models["b"], x, y, 0.1)
    expected = np.mean(np.argmax(models["a"](adversarial, training=False), 1) == y)
    assert evaluation.accuracy(models["a"], *images, attack=FGS, source=models["b"]) == pytest.approx(expected, abs=1.5 / COUNT)


def test_grid_crafts_once_per_source_and_attack_and_scores_every_target(images, models):
    CRAFTED.clear()
    targets = {name: models[name] for name in "ab"}
    found = evaluation.grid(targets, models, [CLEAN, FGS, PGD], *images)
    assert len(found) == 2 + 2 * 2 * 3
    assert len({record.key for record in found}) == len(found)
    assert len(first_batches()) == 1 + 2 * 3
    by_name = {(record.target, record.source, record.attack): record for record in found}
    for target, source in (("a", "a"), ("a", "c"), ("b", "a")):
        record = by_name[target, source, "pgd"]
        assert record.accuracy_percent == pytest.approx(100 * record.correct / COUNT, abs=1e-3)
        expected = evaluation.accuracy(models[target], *images, attack=PGD, source=models[source])
        assert record.correct == round(expected * COUNT)
        assert (record.images, record.epsilon) == (COUNT, 0.1)
    assert by_name["a", "", "clean"].source_hash == ""
    assert {record.runtime for record in found} == {runtime.choices()}


def test_grid_computes_no_known_record_again(images, models):
    first = evaluation.grid(models, {"a": models["a"]}, [CLEAN, FGS], *images)
    CRAFTED.clear()
    assert evaluation.grid(models, {"a": models["a"]}, [CLEAN, FGS], *images, known=first) == first
    assert not CRAFTED


def _evaluate_on_two_devices(place):
    """What the attacks make of networks with BN, and the counts, in three batches on one device and on two."""
    two, found = devices.make("auto", 2), []
    images = data.Images(*(np.concatenate([part] * 2)[: 2 * evaluation.BATCH_SIZE + 3] for part in data.load("digits", "test")))
    kinds = [CLEAN, FGS, dataclasses.replace(PGD, restarts=2), recording(attacks.Generator, epsilon=0.1)]
    static = [FGS, PGD, recording(attacks.LeastLikely, epsilon=0.1)]
    for strategy in (devices.make("one"), two):
        CRAFTED.clear()
        with strategy.scope():
            d, g = (evaluation.load_model(place / name) for name in ("d.keras", "g.keras"))
            counts = [
                record.correct
                for bn_evaluation, chosen in {"moving": kinds, "batch": [PGD]}.items()
                for record in evaluation.grid({"d": d}, {"d": d, "g": g}, chosen, *images, bn_evaluation=bn_evaluation)
            ]
            units = static_examples(static, d, images)
        crafted = {(attack, training, number): adversarial.numpy() for attack, _, training, number, adversarial in CRAFTED}
        used = {(attack, number % 2, adversarial.device[-5:]) for attack, _, _, number, adversarial in CRAFTED}
        found.append((counts, crafted, units))
    (counts, crafted, units), (counts_on_two, crafted_on_two, units_on_two) = found
    assert used == {(attack.name, number, f"CPU:{number}") for attack in (*kinds, *static) for number in (0, 1)}
    assert counts_on_two == counts
    assert len(set(counts)) >= 4
    assert crafted_on_two.keys() == crafted.keys()
    for key, adversarial in crafted.items():
        np.testing.assert_array_equal(crafted_on_two[key], adversarial)
    np.testing.assert_array_equal(units_on_two, units)


@pytest.mark.slow
def test_devices_that_take_the_batches_in_turn_change_no_bit(fork, tmp_path):
    image, layers = keras.Input((8, 8, 1), name="image"), keras.layers
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.Rescaling(2, -1)(image)))
    randomised(keras.Model(image, layers.Dense(10, use_bias=False)(layers.Flatten()(layers.ReLU()(x))))).save(
        tmp_path / "d.keras"
    )
    randomised(keras.Model(image, layers.Conv2D(1, 3, padding="same", activation="tanh")(image))).save(tmp_path / "g.keras")
    process = fork(_evaluate_on_two_devices, tmp_path)  # no process can make further devices once it has used TensorFlow
    assert process.wait() == 0, process.said()


@pytest.mark.parametrize("change", ["target", "source", "attack", "images", "bn_evaluation"])
def test_grid_computes_again_what_a_change_touches(change, images, models):
    targets, sources, attack, options = {"a": models["a"]}, {"b": models["b"]}, FGS, {}
    known = evaluation.grid(targets, sources, [attack], *images)
    CRAFTED.clear()
    changed = randomised(networks.d1((8, 8, 1), 10, 4), seed=7)
    if change == "target":
        targets = {"a": changed}
    elif change == "source":
        sources = {"b": changed}
    elif change == "attack":
        attack = dataclasses.replace(attack, epsilon=0.2)
    elif change == "images":
        images = data.Images(images.images[1:], images.labels[1:])
    else:
        options = dict(bn_evaluation="batch")
    evaluation.grid(targets, sources, [attack], *images, known=known, **options)
    assert len(first_batches()) == 1


def test_grid_runs_the_generators_attack_on_generators_and_the_others_on_classifiers(images, models):
    sources = {"b": models["b"], "b/g": networks.g1((8, 8, 1), 4)}
    found = evaluation.grid({"a": models["a"]}, sources, [FGS, attacks.Generator(epsilon=0.1)], *images)
    assert [(record.source, record.attack) for record in found] == [("b", "fgs"), ("b/g", "generator")]


def test_outcomes_say_which_images_are_right_and_a_record_without_one_is_computed_again(images, models):
    targets, outcomes = {"a": models["a"]}, {}
    first = evaluation.grid(targets, targets, [CLEAN, FGS], *images, outcomes=outcomes)
    assert {record.key: record.correct for record in first} == {key: own.sum() for key, own in outcomes.items()}
    predicted = np.argmax(models["a"](images.images / np.float32(255), training=False), 1)
    np.testing.assert_array_equal(outcomes[first[0].key], predicted == images.labels)
    CRAFTED.clear()
    outcomes.pop(first[1].key)
    again = evaluation.grid(targets, targets, [CLEAN, FGS], *images, known=first, outcomes=outcomes)
    assert [name for name, _ in first_batches()] == ["fgs"]
    assert [(record.key, record.correct) for record in again] == [(record.key, record.correct) for record in first]


def test_worst_case_is_taken_image_by_image(images, models):
    parts = evaluation.grid({"a": models["a"]}, {"b": models["b"]}, [CLEAN, FGS], *images)
    rng = np.random.default_rng(0)
    outcomes = {part.key: rng.random(COUNT) < 0.7 for part in parts}
    attack = Worst(epsilon=0.1, parts=("FGS", "PGD"))
    record = evaluation.worst(attack, parts, outcomes)
    together = np.logical_and.reduce([outcomes[part.key] for part in parts])
    np.testing.assert_array_equal(outcomes[record.key], together)
    assert (record.correct, record.images) == (together.sum(), COUNT)
    assert record.correct < min(outcomes[part.key].sum() for part in parts)
    assert (record.attack, record.source, record.target) == ("worst", "", "a")
    assert record.attack_settings == attack.settings() and '"parts": ["FGS", "PGD"]' in record.attack_settings
    assert evaluation.worst(attack, parts[:-1], outcomes).key != record.key


def test_outcomes_survive_the_file(tmp_path):
    right = np.random.default_rng(0).random(1_003) < 0.5
    file = tmp_path / "outcomes.csv"
    records.merge(file, [records.Outcome.of("a", right), records.Outcome.of("b", ~right)], records.Outcome)
    found = {outcome.key: outcome.array() for outcome in records.read(file, records.Outcome)}
    np.testing.assert_array_equal(found["a"], right)
    np.testing.assert_array_equal(found["b"], ~right)
    with pytest.raises(UserError, match="expected the header"):
        records.read(file)


@pytest.mark.parametrize(
    ("change", "training", "message"),
    [
        (dict(norm="l2"), False, "norm: expected linf for attack apgd_ce, received l2"),
        (dict(), True, "bn_evaluation: expected moving for attack apgd_ce, received batch"),
    ],
)
def test_strong_attacks_refuse_what_they_are_not_made_for(change, training, message, images, models):
    attack = APGD(epsilon=0.1, text="apgd_ce", **change)
    with pytest.raises(UsageError, match=message):
        attack.craft(models["a"], images.images[:2], images.labels[:2], training=training)


def test_strong_attacks_are_crafted_with_their_settings(images, models):
    x, y, model = images.images[:12] / np.float32(255), images.labels[:12], models["a"]
    expected = {
        "restarted_pgd": attacks.restarted_pgd(model, x, y, 0.1, step_size=0.0025, steps=2, restarts=10, seed=3),
        "apgd_ce": attacks.apgd(model, x, y, 0.1, steps=2, seed=3),
        "apgd_dlr": attacks.apgd(model, x, y, 0.1, steps=2, loss="dlr", seed=3),
        "apgd_targeted": attacks.apgd(model, x, y, 0.1, steps=2, loss="dlr", targets=9, seed=3),
        "fab_targeted": attacks.fab(model, x, y, 0.1, steps=2, targets=9),
        "square": attacks.square(model, x, y, 0.1, queries=2, seed=3),
    }
    spec = experiment("digits", "pgd", epsilon=0.1)
    for name, adversarial in expected.items():
        np.testing.assert_array_equal(spec.attack(f"{name}:steps=2").craft(model, x, y, seed=3), adversarial)


@pytest.fixture(scope="module")
def with_batch_normalisation():
    """A small classifier with BN."""
    layers = [
        keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU(),
        keras.layers.Flatten(), keras.layers.Dense(10),
    ]  # fmt: skip
    return randomised(keras.Sequential(layers))


def test_batch_statistics_leave_the_last_partial_batch_out(images, with_batch_normalisation):
    model = with_batch_normalisation
    (record,) = evaluation.grid({"a": model}, {}, [CLEAN], *images, bn_evaluation="batch")
    assert record.images == COUNT // 64 * 64
    x = images.images[: record.images].reshape(-1, 64, 8, 8, 1) / np.float32(255)
    predicted = np.concatenate([np.argmax(networks.discarding_statistics(model, batch, training=True), 1) for batch in x])
    assert record.correct == (predicted == images.labels[: record.images]).sum()


def test_static_examples_are_within_epsilon_and_close_to_the_attacks(images, models):
    spec = experiment("digits", "ensemble", epsilon=0.15)
    chosen = [spec.attack(name) for name in STATIC_ATTACKS]
    crafted = static_examples(chosen, models["a"], images)
    by_batch = static_examples(chosen, models["a"], images, bn_evaluation="batch")
    np.testing.assert_array_equal(by_batch[0], crafted[0])  # D1 has no BN
    assert crafted.shape == (3, *images.images.shape)
    assert crafted.dtype == np.int8
    x, y = images.images[:200] / np.float32(255), images.labels[:200]
    for attack, units in zip(chosen, crafted, strict=True):
        exact = np.asarray(attack.craft(models["a"], images.images[:250] / np.float32(255), images.labels[:250], seed=(0, 0)))
        np.testing.assert_allclose(x + units[:200] * np.float32(0.15 / 127), exact[:200], atol=0.15 / 254 + 1e-6)
    assert not np.array_equal(crafted[0], crafted[2])
    assert len(y) == 200


def test_static_examples_by_batch_statistics_are_of_full_batches(images, with_batch_normalisation):
    model = with_batch_normalisation
    found = static_examples([FGS], model, images, bn_evaluation="batch")[0]
    x = images.images / np.float32(255)
    # The last one has images from before it, whose perturbations are those of the batch that they came in.
    for start, end, new in ((0, 64, 0), (128, 192, 128), (COUNT - 64, COUNT, 192)):
        adversarial = attacks.fgs(model, x[start:end], images.labels[start:end], 0.1, training=True)
        expected = np.round(127 * np.clip((adversarial - x[start:end]) / 0.1, -1, 1)).astype(np.int8)
        np.testing.assert_array_equal(found[new:end], expected[new - end :])


def test_records_survive_the_file(images, models, tmp_path):
    found = evaluation.grid({"a": models["a"]}, models, [CLEAN, FGS], *images, provenance={"a": dict(dataset="digits", seed=3)})
    file = tmp_path / "deeper" / "records.csv"
    records.merge(file, found[:2])
    records.merge(file, found[1:])
    assert records.read(file) == found
    newer = dataclasses.replace(found[0], seconds=99.0)
    records.merge(file, [newer])
    assert records.read(file) == [*found[1:], newer]


@pytest.mark.parametrize("damage", ["header", "cut", "number", "binary", "empty"])
def test_corrupt_record_file_is_refused_and_left_as_it_is(damage, images, models, tmp_path):
    file = tmp_path / "records.csv"
    (record,) = evaluation.grid({"a": models["a"]}, {}, [CLEAN], *images)
    records.merge(file, [record])
    whole = file.read_bytes()
    damaged = {
        "header": whole.replace(b"key,", b"kee,", 1),
        "cut": whole[: len(whole) - 40],
        "number": whole.replace(b",%d," % COUNT, b",many,"),
        "binary": b"\xff\xfe\x00" + whole,
        "empty": b"",
    }[damage]
    file.write_bytes(damaged)
    with pytest.raises(UserError, match=r"records\.csv.*expected.*found"):
        records.read(file)
    with pytest.raises(UserError):
        records.merge(file, [record])
    assert file.read_bytes() == damaged


def _merge_many(file, worker):
    template = records.Record(*([""] * 4), 0.1, 50.0, 1, 2, *([""] * 5), 0.0)
    for number in range(20):
        records.merge(file, [dataclasses.replace(template, key=f"{worker}-{number}")])


def test_processes_that_merge_at_once_lose_nothing(tmp_path):
    file = tmp_path / "records.csv"
    workers = [multiprocessing.get_context("fork").Process(target=_merge_many, args=(file, name)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {record.key for record in records.read(file)} == {f"{name}-{number}" for name in "abc" for number in range(20)}


RECORDS = records.read(Path(__file__).parents[2] / "results" / "cpu" / "records.csv")


@pytest.mark.parametrize("name", ["clean", "fgs", "pgd"])
def test_keys_of_linf_attacks_are_those_of_before_there_were_other_norms(name):
    attack = experiment("mnist", "advnet").attack(name)
    kept = [record for record in RECORDS if (record.attack, record.dataset, record.protocol) == (name, "mnist", "paper")]
    assert kept
    fields = ("target", "source", "target_hash", "source_hash", "images_hash", "bn_evaluation")
    for record in kept:
        assert attack.settings() == record.attack_settings
        identity = {field: getattr(record, field) for field in fields}
        assert records.record_key(**identity, attack_settings=attack.settings()) == record.key


def test_attacks_are_crafted_and_recorded_in_their_norm(images, models):
    x, y = images.images[:20] / np.float32(255), images.labels[:20]
    g = randomised(networks.g1((8, 8, 1), 4, norm="l2"))
    settings = []
    for norm in ("linf", "l2", "l1"):
        spec = experiment("digits", "advnet", norm=norm, epsilon=0.9)
        expected = {
            "fgs": attacks.fgs(models["a"], x, y, 0.9, norm=norm),
            "fgs_predicted": attacks.fgs(models["a"], x, None, 0.9, norm=norm),
            "least_likely": attacks.least_likely(models["a"], x, 0.9, norm=norm),
            "pgd": attacks.pgd(models["a"], x, y, 0.9, norm=norm, steps=10),
            "generator": attacks.generator(g, x, y, 0.9, norm=norm),
        }
        for name, adversarial in expected.items():
            attack = spec.attack(name)
            found = attack.craft(g if name == "generator" else models["a"], x, y)
            np.testing.assert_array_equal(found, adversarial)
            settings.append(attack.settings())
    assert len(set(settings)) == len(settings) == 15
    assert sum('"norm"' in text for text in settings) == 10


def test_load_classifier_reads_a_run_directory_or_a_file(models, tmp_path):
    models["a"].save(tmp_path / "d.keras")
    x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    for path in (tmp_path, tmp_path / "d.keras"):
        np.testing.assert_allclose(evaluation.load_classifier(path, "digits")(x), models["a"](x), atol=1e-6)


def test_load_classifier_refuses_what_is_none(models, tmp_path):
    models["a"].save(tmp_path / "d.keras")
    networks.g1((8, 8, 1), 4).save(tmp_path / "g.keras")
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]).save(tmp_path / "three.keras")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "d.keras").read_bytes()[:2000])
    (tmp_path / "text.keras").write_text("not a model")
    keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)]).save(tmp_path / "unbuilt.keras")
    for file, dataset, message in (
        ("d.keras", "mnist", r"expected a classifier of mnist, \(None, 28, 28, 1\) to \(None, 10\), found \(None, 8, 8, 1\)"),
        ("g.keras", "digits", r"found \(None, 8, 8, 1\) to \(None, 8, 8, 1\)"),
        ("three.keras", "digits", r"to \(None, 3\)"),
        ("cut.keras", "digits", "expected a Keras model, found"),
        ("text.keras", "digits", "expected a Keras model, found"),
        ("unbuilt.keras", "digits", "found a model that was never built"),
        ("absent.keras", "digits", r"expected a \.keras file, found none"),
    ):
        with pytest.raises(UserError, match=message):
            evaluation.load_classifier(tmp_path / file, dataset)
