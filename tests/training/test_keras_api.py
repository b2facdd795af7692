"""`fit` of the Keras classes: the update rules of `train`, Keras' callbacks, metrics and weights, one replica and two."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import adv_networks as an
from adv_networks import attacks, data, defences, evaluation, runtime
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import METHODS, experiment
from adv_networks.runtime import devices
from tests.conftest import precision

SETTINGS = dict(weight_decay=0.01, batch_size=16, pgd_steps=3, generator_steps=2)
STEPS = 10


def pairs(spec):
    """As many minibatches as there are steps, and the same as one data set."""
    images, labels = data.load("digits", "train", limit=100)
    made = list(data.batches(images, labels, spec.batch_size, training=True).take(STEPS))
    x, y = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*made, strict=True))
    return made, tf.data.Dataset.from_tensor_slices((x.astype(keras.config.floatx()), y)).batch(spec.batch_size)


def networks_of(method):
    """Few layers, but each kind; the same weights at each call. No generator where the method trains none."""
    keras.utils.set_random_seed(0)
    layers, image = keras.layers, keras.Input((8, 8, 1), name="image")

    def block(strides):
        x = layers.Conv2D(3, 3, strides=strides, padding="same", use_bias=False)(image)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    classifier = keras.Model(image, layers.Dense(10)(layers.Flatten()(layers.MaxPooling2D()(block(2)))))
    generator = keras.Model(image, layers.Conv2D(1, 3, padding="same", activation="tanh")(block(1)))
    return classifier, generator if METHODS[method].trains_generator else None


def in_training(spec, classifier, generator):
    options = dict(epsilon=spec.epsilon, weight_decay=spec.weight_decay, seed=spec.seed)
    if spec.method == "advnet":
        return an.keras.AdversarialNetwork(classifier, generator, generator_steps=spec.generator_steps, **options)
    return an.keras.AdversarialTraining(classifier, f"pgd:steps={spec.pgd_steps}", **options)


def optimizers(spec):
    named = {"optimizer": keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)}
    if spec.method == "advnet" and spec.generator_optimizer == "adam":
        options = dict(beta_1=spec.generator_momentum, beta_2=0.999, epsilon=1e-8)
        named["generator_optimizer"] = keras.optimizers.Adam(spec.generator_learning_rate, **options)
    elif spec.method == "advnet":
        named["generator_optimizer"] = keras.optimizers.SGD(spec.generator_learning_rate, momentum=spec.generator_momentum)
    return named


def largest_difference(method, strategy, **further):
    """Of the weights after ten steps by `fit` and by the rules, in double precision; and what `fit` logged."""
    spec = experiment("digits", method, **SETTINGS, **further)
    batches, dataset = pairs(spec)
    (d, g), (d_optimizer, *g_optimizer) = networks_of(method), optimizers(spec).values()
    d_optimizer.build(d.trainable_variables)
    for optimizer in g_optimizer:
        optimizer.build(g.trainable_variables)
    players = defences.Players(d, d_optimizer, g, *g_optimizer)
    with strategy.scope():
        model = in_training(spec, *networks_of(method))
        model.compile(**optimizers(spec))
    for number, (x, y) in enumerate(batches):
        METHODS[method].step(players, tf.cast(x, "float64"), y, spec, (spec.seed, number))
    history = model.fit(dataset, verbose=0, shuffle=False).history
    networks = [(players.d, model.classifier), *([(players.g, model.generator)] if players.g else [])]
    weights = [zip(one.get_weights(), other.get_weights(), strict=True) for one, other in networks]
    differences = [np.abs(one - other).max() for own in weights for one, other in own]
    return float(max(differences)), sorted(history)


def in_two_replicas(file):
    """Writes the differences of both classes; in a process of its own, which TensorFlow has not started in."""
    runtime.configure("plain")
    strategy = devices.make(replicas=2)
    games = (("pgd", {}), ("advnet", dict(generator_optimizer="sgd")))
    with precision("float64"):
        file.write_text(json.dumps([largest_difference(method, strategy, **further) for method, further in games]))


@pytest.mark.parametrize("method", ["pgd", pytest.param("advnet", marks=pytest.mark.slow)])
def test_ten_steps_of_fit_are_those_of_the_update_rules(method, float64, plain):
    difference, logged = largest_difference(method, tf.distribute.get_strategy())
    assert difference < 1e-10
    assert {"loss", "accuracy"} <= set(logged) and ("g_loss" in logged) == (method == "advnet")


@pytest.mark.slow
def test_ten_steps_of_fit_on_two_replicas_are_those_of_one(fork, tmp_path):
    process = fork(in_two_replicas, tmp_path / "found.json")
    assert process.wait() == 0, process.said()
    for difference, _ in json.loads((tmp_path / "found.json").read_text()):
        assert difference < 1e-10


def tiny():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Dropout(0.1)(keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, activation="relu")(image)))
    return keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


@pytest.mark.slow
def test_fit_has_callbacks_metrics_validation_and_saves_plain_keras(tmp_path):
    (images, labels), held_out = data.load("digits", "train", limit=256), data.load("digits", "test", limit=64)
    model = an.keras.AdversarialTraining(tiny(), "pgd:steps=2", epsilon=0.05)
    model.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"])
    robust = an.keras.RobustAccuracy("pgd:steps=2", *held_out, epsilon=0.05)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_robust_accuracy", mode="max")
    history = model.fit(images, labels, epochs=2, batch_size=32, verbose=0, validation_data=held_out, callbacks=[robust, best])
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "val_robust_accuracy"} <= history.history.keys()
    assert history.history["accuracy"][-1] > history.history["accuracy"][0]
    _, accuracy = model.evaluate(*held_out, verbose=0)
    model.save(tmp_path / "robust.keras")
    plain = keras.models.load_model(tmp_path / "robust.keras")
    x = held_out.images / np.float32(255)
    expected = float(np.mean(plain.predict(x, verbose=0).argmax(1) == held_out.labels))
    assert accuracy == pytest.approx(expected) == history.history["val_accuracy"][-1]
    crafted = attacks.named("pgd:steps=2", 0.05)
    assert history.history["val_robust_accuracy"][-1] == evaluation.accuracy(model.classifier, *held_out, attack=crafted)
    assert not isinstance(keras.models.load_model(tmp_path / "best.keras"), an.keras.AdversarialTraining)


def test_single_batches_train_as_fit_does_and_export_is_the_classifier_alone(tmp_path):
    images, labels = data.load("digits", "train", limit=32)
    models = []
    for _ in range(2):
        model = an.keras.AdversarialTraining(networks_of("pgd")[0], "pgd:steps=2", epsilon=0.05)
        model.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
        models.append(model)
    fitted, by_batch = models
    fitted.fit(images, labels, batch_size=16, shuffle=False, verbose=0)
    for rows in (slice(16), slice(16, 32)):
        by_batch.train_on_batch(images[rows], labels[rows])
    for one, other in zip(fitted.classifier.get_weights(), by_batch.classifier.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    by_batch.export(tmp_path / "exported", verbose=False)
    exported, x = tf.saved_model.load(tmp_path / "exported"), images / np.float32(255)
    np.testing.assert_allclose(exported.serve(x), by_batch.classifier(x), rtol=1e-5, atol=1e-5)


class Halved(keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, x):
        return x / 2


class Subclassed(keras.Model):
    """A subclassed model, which says nothing of its shapes and returns more than logits, these in another precision."""

    def __init__(self, **options):
        super().__init__(**options)
        layers = keras.layers
        self.features = [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2), Halved()]
        self.logits, self.few = layers.Dense(10), layers.Dense(3)

    def call(self, x, training=None):
        for layer in self.features:
            x = layer(x, training=training) if isinstance(layer, keras.layers.Dropout) else layer(x)
        logits = self.logits(keras.ops.reshape(x, (-1, 144)))
        few = self.few(keras.ops.mean(x, (1, 2)))[:, None]  # a head that no loss depends on
        return {"features": x, "deep": [keras.ops.cast(logits, "float64"), few]}


@pytest.mark.slow
def test_subclassed_model_of_several_outputs_is_trained_attacked_and_saved(tmp_path):
    keras.utils.set_random_seed(0)
    (images, labels), held_out = data.load("digits", "train", limit=64), data.load("digits", "test", limit=32)
    own = Subclassed()
    with pytest.raises(UserError, match="expected a model built for images"):
        an.keras.AdversarialTraining(own, "fgs", epsilon=0.05)
    own(images[:2] / np.float32(255))
    before = own.get_weights()
    model = an.keras.AdversarialTraining(own, "fgs", epsilon=0.05)
    model.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=32, verbose=0, validation_data=held_out).history
    assert any(np.abs(one - other).max() > 0 for one, other in zip(before, own.get_weights(), strict=True))
    model.save(tmp_path / "robust.keras")
    custom = {"Subclassed": Subclassed, "Halved": Halved}
    plain = keras.models.load_model(tmp_path / "robust.keras", custom_objects=custom)
    seen = np.asarray(plain(held_out.images / np.float32(255), training=False)["deep"][0]).argmax(1)
    assert history["val_accuracy"][-1] == pytest.approx(float(np.mean(seen == held_out.labels)))
    # In a `fit` of Keras' own, too.
    robust, logs = an.keras.RobustAccuracy("fgs", *held_out, epsilon=0.05), {}
    robust.set_model(plain)
    robust.on_epoch_end(0, logs)
    expected = evaluation.accuracy(model.unit_classifier, *held_out, attack=attacks.named("fgs", 0.05))
    assert logs["val_robust_accuracy"] == expected


def test_class_weights_multiply_the_loss_of_their_images():
    images, labels = data.load("digits", "train", limit=64)
    image = keras.Input((8, 8, 1))
    model = an.keras.AdversarialTraining(
        keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(image))), "fgs", epsilon=1e-9
    )
    kernel, bias = (np.float64(weight) for weight in model.classifier.get_weights())
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(images, labels, class_weight={0: 0.0, 3: 2.5}, batch_size=64, verbose=0)
    x = images.reshape(64, -1) / 255
    logits = x @ kernel + bias
    errors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(10)[labels]
    errors *= np.where(labels == 0, 0, np.where(labels == 3, 2.5, 1))[:, None] / 64
    for found, expected in zip(
        model.classifier.get_weights(), (kernel - 0.1 * x.T @ errors, bias - 0.1 * errors.sum(0)), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def with_outputs(outputs, shape=(8, 8, 1), **options):
    image = keras.Input(shape, **options)
    return keras.Model(image, outputs(image))


def ten(x):
    return keras.layers.Dense(10)(keras.layers.GlobalMaxPooling2D()(x))


def casting(dtype):
    """A generator whose last layer returns another type than it declares."""
    conv, cast = keras.layers.Conv2D(1, 3, padding="same", activation="tanh"), keras.layers.Lambda(lambda x: tf.cast(x, dtype))
    return keras.Sequential([keras.Input((8, 8, 1)), conv, cast])


def test_floats_of_another_type_than_declared_are_cast():
    images, labels = data.load("digits", "train", limit=64)
    classifier = with_outputs(lambda x: keras.layers.Lambda(lambda x: tf.cast(x, "float64"))(ten(x)))
    model = an.keras.AdversarialNetwork(classifier, casting("float16"), epsilon=0.1)
    model.compile()
    assert np.isfinite(model.fit(images, labels, batch_size=32, verbose=0).history["loss"]).all()


class NotANumber(keras.layers.Layer):
    """Returns NaN from one of its calls in training on."""

    def __init__(self, after):
        super().__init__()
        self.after, self.calls = after, self.add_weight(initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if training:
            self.calls.assign_add(1.0)
        return keras.ops.where(self.calls > self.after, x * np.nan, x) if training else x


def test_numbers_that_are_not_finite_end_fit_before_anything_is_saved(tmp_path):
    images, labels = data.load("digits", "train", limit=64)
    model = an.keras.AdversarialTraining(with_outputs(lambda x: NotANumber(after=1)(ten(x))), "fgs", epsilon=0.1)
    model.compile()
    kept = keras.callbacks.ModelCheckpoint(tmp_path / "every.keras")
    together = keras.callbacks.CallbackList([kept], model=model)
    for callbacks in (kept, [kept], together):
        with pytest.raises(UserError, match=r"^epoch 1: expected a finite \w+, found nan \(the weights are lost\)$"):
            model.fit(images, labels, batch_size=32, verbose=0, callbacks=callbacks)
    assert together.callbacks == [kept]
    with pytest.raises(UserError, match=r"^epoch 1 step 20: expected a finite"):
        model.fit(images, labels, batch_size=1, verbose=0)
    with pytest.raises(UserError, match=r"^epoch 1: expected a finite loss"):
        model.fit(images, labels, batch_size=32, verbose=0, validation_data=(images, labels))
    model.compile(steps_per_execution=8)
    with pytest.raises(UserError, match=r"^epoch 1 step 24: expected a finite"):
        model.fit(images, labels, batch_size=1, verbose=0)
    model = an.keras.AdversarialTraining(with_outputs(ten), "fgs", epsilon=0.1)
    model.compile(keras.optimizers.SGD(float("inf")))
    with pytest.raises(UserError, match=r"^epoch 1: expected a finite weight, found (inf|nan)"):
        model.fit(images, labels, batch_size=64, verbose=0, callbacks=kept)
    assert not (tmp_path / "every.keras").exists()


def map_of_images():
    return [keras.Input((8, 8, 1)), keras.layers.Rescaling(0.0, 1.0)]


def test_what_is_no_classifier_or_batch_is_refused():
    images, labels = data.load("digits", "train", limit=64)
    one = an.keras.AdversarialTraining(tiny(), "fgs", epsilon=0.1, input_range=(0, 255))
    one.compile(keras.optimizers.SGD(1e-4))
    for outputs, options, message in (
        (lambda x: keras.ops.softmax(ten(x)), {}, "classifier: expected logits for training, found probabilities"),
        (lambda x: ten(keras.ops.cast(x, "float32")), dict(dtype="uint8"), "classifier: expected a classifier of floats"),
        (lambda x: keras.layers.Dense(10, dtype="float64")(ten(x)), {}, "weights of one type for training, found float32 and"),
        (lambda x: keras.layers.Dense(10, trainable=False)(keras.layers.Flatten()(x)), {}, "with weights to train, found none"),
        # The type that a Lambda declares is not what it returns.
        (lambda x: keras.layers.Lambda(lambda x: tf.cast(x, "complex64"))(ten(x)), {}, "that returns floats, .* complex64,"),
        (lambda x: keras.layers.Lambda(lambda x: tf.cast(x, "int32"))(ten(x)), {}, "that returns floats, .* returns int32,"),
        (lambda x: keras.layers.Lambda(tf.sparse.from_dense)(ten(x)), {}, "that returns floats, .* returns SparseTensor,"),
        (lambda x: [ten(x), ten(x)], {}, r"classifier: expected a classifier, .* found .* to 0: \(None, 10\) and 1: "),
        (lambda x: x, {}, r"found \(None, 8, 8, 1\) to \(None, 8, 8, 1\)"),
    ):
        with pytest.raises(UserError, match=message):
            an.keras.AdversarialTraining(with_outputs(outputs, **options), epsilon=0.1)
    any_sides = with_outputs(ten, (None, None, 1))
    assert an.keras.AdversarialTraining(any_sides, epsilon=0.1).unit_classifier is any_sides
    one_logit = with_outputs(lambda x: keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    assert an.keras.AdversarialTraining(one_logit, epsilon=0.1).unit_classifier.output_shape == (None, 2)
    for call, message in (
        (lambda: one.fit(images.astype(np.float32), labels, verbose=0), r"images: expected uint8, or floats in \[0,1\]"),
        (lambda: one.fit(images, labels + 5, verbose=0), "labels: expected integers from 0 to 9"),
        (lambda: one.fit(images, verbose=0), r"data: expected batches \(images, labels\), received 1 parts"),
        (lambda: one.evaluate(images.astype(np.float32), labels), r"images: expected uint8, or floats in \[0,1\]"),
        (lambda: one.evaluate(images, np.eye(10)[labels]), r"labels: expected integers \[N\], received float64 \[64, 10\]"),
        (lambda: one.predict(images.astype(np.float32)), r"images: expected uint8, or floats in \[0,1\]"),
        (lambda: one.fit(images, labels, sample_weight=np.ones(64), verbose=0), "sample_weight: expected none"),
        (lambda: an.keras.AdversarialNetwork(any_sides, epsilon=0.1), "generator: expected one, because the classifier takes"),
        (lambda: an.train((images, labels), "nowhere"), "experiment: expected what .*, received a tuple"),
        (lambda: an.keras.AdversarialTraining(tiny(), "square", epsilon=0.1), "attack: expected fgs, pgd or least_likely"),
        (lambda: an.keras.AdversarialTraining(tiny(), epsilon=0.1).fit(images, labels), "expected a compiled model"),
        (
            lambda: an.keras.AdversarialNetwork(tiny(), tiny(), epsilon=0.1),
            r"generator: expected perturbations",
        ),
        (
            lambda: an.keras.AdversarialNetwork(tiny(), casting("complex64"), epsilon=0.1),
            "generator: expected a model that returns floats, found one that returns complex64",
        ),
        (lambda: an.keras.AdversarialNetwork(tiny(), "g1", epsilon=0.1), "generator: expected a Keras model, found a str"),
        (
            lambda: an.keras.AdversarialNetwork(
                tiny(), keras.Sequential([*map_of_images(), keras.layers.Rescaling(9)]), epsilon=1
            ),
            r"generator: expected perturbations in \[-1,1\] \(a last layer of tanh\), found up to 9",
        ),
        (lambda: an.keras.AdversarialTraining("d.keras", epsilon=0.1), "classifier: expected a Keras model, received a str"),
        (lambda: an.keras.AdversarialTraining(tiny(), epsilon=8), "epsilon: expected at most 1 in linf"),
        (
            lambda: an.keras.AdversarialTraining(tiny(), epsilon=0.1, norm="l0"),
            "norm: expected one of linf, l2, l1, received l0",
        ),
        (
            lambda: an.keras.AdversarialTraining(tiny(), epsilon=0.1, weight_decay=-1),
            "weight_decay: expected a value of at least",
        ),
        (lambda: an.keras.AdversarialTraining(tiny(), epsilon=0.1, seed=1.5), "seed: expected a whole number"),
        (lambda: an.keras.AdversarialTraining(tiny(), epsilon=0.1, input_range=(1, 0)), "input_range: expected two ascending"),
        (lambda: an.keras.AdversarialTraining(tiny(), epsilon=0.1, input_range="0,1"), "input_range: expected two ascending"),
        (lambda: an.keras.AdversarialNetwork(tiny(), epsilon=-0.1), "epsilon: expected a value above 0"),
        (
            lambda: an.keras.AdversarialNetwork(tiny(), epsilon=0.1, generator_steps=0),
            "generator_steps: expected a value of at",
        ),
        (lambda: an.keras.AdversarialNetwork(tiny(), epsilon=0.1, regulariser="hessian"), "regulariser: expected one of fd"),
        (lambda: an.keras.RobustAccuracy("pgd", images, labels[:9], epsilon=0.1), r"labels: expected integers \[64\]"),
        (lambda: an.keras.RobustAccuracy("pgd", images, labels, epsilon=0.1, every=0), "every: expected at least 1"),
        (lambda: an.keras.RobustAccuracy("universal", images, labels, epsilon=0.1), "attack: expected one that is crafted on"),
        (
            lambda: one.fit(
                images, labels, verbose=0, callbacks=[an.keras.RobustAccuracy("pgd", images, labels + 5, epsilon=0.1)]
            ),
            "labels: expected integers from 0 to 9",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            call()
