"""An ordinary Keras classifier, for `main.py --model=examples.own_model:classifier --input_range=-1,1`.

Put your own in its place: a function that returns a `keras.Model` from images to logits.
"""

import keras

from adv_networks import data


def classifier() -> keras.Model:
    """A small CNN, trained for 5 seconds on the digits' training images, scaled to [-1,1]."""
    keras.utils.set_random_seed(0)
    images, labels = data.load("digits", "train")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images / 127.5 - 1, labels, batch_size=32, epochs=10, verbose=0)
    return model
