"""A ResNet of `keras.applications` with a head of your classes, for `--classifier=examples.fine_tune:classifier`.

Its inputs are pixels from -1 to 1, as its ImageNet weights have them; Keras fetches these once.
"""

import keras

CLASSES, SIDE = 10, 160


def classifier(weights: str | None = "imagenet", side: int = SIDE, classes: int = CLASSES) -> keras.Model:
    """Logits of that many classes from images of that many pixels a side; fresh weights with `weights=None`."""
    body = keras.applications.ResNet50V2(include_top=False, weights=weights, input_shape=(side, side, 3), pooling="avg")
    return keras.Model(body.input, keras.layers.Dense(classes, name="logits")(body.output))
