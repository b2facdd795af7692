"""A ResNet from `keras.applications` with a head for your classes, for `--classifier=examples.fine_tune:classifier`.

Its inputs are pixels from -1 to 1, as its ImageNet weights expect. Keras downloads these weights once.
"""

import keras

CLASSES, SIDE = 10, 160


def classifier(weights: str | None = "imagenet", side: int = SIDE, classes: int = CLASSES) -> keras.Model:
    """A classifier of images with `side` × `side` pixels that returns logits; `weights=None` gives it fresh weights."""
    body = keras.applications.ResNet50V2(include_top=False, weights=weights, input_shape=(side, side, 3), pooling="avg")
    return keras.Model(body.input, keras.layers.Dense(classes, name="logits")(body.output))
