"""The building blocks of the paper's networks (appendix, Fig. 2)."""

from __future__ import annotations

import dataclasses

from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras

Shape = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Convolutions:
    """The initial kernels of D2 and of the generators, and the padding of strided convolutions.

    Attributes:
        initializer: initialiser of convolutions; "truncated_normal" is also that of fully connected layers.
        last_initializer: initialiser of deconvolutions and of a generator's last layer.
        padding: padding of strided convolutions: "same" is TensorFlow's, which on an even side pads the end by one more than
            the beginning; "symmetric" pads both by (kernel size - 1) / 2. Both give half the side.

    The initial kernels have mean 0. Their standard deviation is sqrt(2 / fan-in) for "he_normal" and sqrt(1 / fan-in) for
    "lecun_normal" (variance scaling of scale 1). "truncated_normal" draws with 0.02 and cuts at 0.04, which leaves 0.0176.

    Examples:
        >>> from adv_networks import networks
        >>> symmetric = networks.Convolutions(padding="symmetric")
        >>> layers = networks.d2((8, 8, 3), 10, 2, convolutions=symmetric).layers
        >>> sum(type(layer).__name__ == "ZeroPadding2D" for layer in layers)  # before each strided 3×3 convolution
        2
    """

    initializer: str = "he_normal"
    last_initializer: str = "he_normal"
    padding: str = "same"


DEFAULT_CONVOLUTIONS = Convolutions()


def initializer_of(name: str) -> str | keras.Initializer:
    """The Keras initialiser with this name."""
    return keras.initializers.TruncatedNormal(stddev=0.02) if name == "truncated_normal" else name


def convolution(
    x,
    filters: int,
    kernel_size: int,
    stride: int = 1,
    *,
    use_bias: bool = False,
    transposed: bool = False,
    initializer: str = "he_normal",
    padding: str = "same",
    **options,
):
    """A convolution or, if `transposed`, a deconvolution; `padding` applies to strided convolutions."""
    layer = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
    if padding == "symmetric":
        # Without a stride, and for 1×1 kernels, "symmetric" equals "same".
        padding = "same"
        if stride > 1 and kernel_size > 1 and not transposed:
            x, padding = keras.layers.ZeroPadding2D(kernel_size // 2)(x), "valid"
    options |= dict(padding=padding, use_bias=use_bias, kernel_initializer=initializer_of(initializer))
    return layer(filters, kernel_size, stride, **options)(x)


def normalise(x):
    """BN with the released code's settings."""
    return keras.layers.BatchNormalization(momentum=0.997, epsilon=1e-5)(x)


def normalised_relu(x):
    """BN and ReLU."""
    return keras.layers.ReLU()(normalise(x))


def residual_block(
    x, kernel_size: int, stride: int, filters: int, *, project: bool, convolutions: Convolutions = DEFAULT_CONVOLUTIONS
):
    """residual-block(d, s, k) of Fig. 2; with `project` the shortcut is a 1×1 convolution and BN.

    Examples:
        >>> import keras
        >>> from adv_networks import networks
        >>> networks.residual_block(keras.Input((8, 8, 4)), 3, 2, 16, project=True).shape
        (None, 4, 4, 16)
    """
    options = dict(initializer=convolutions.initializer, padding=convolutions.padding)
    shortcut = normalise(convolution(x, filters, 1, stride, **options)) if project else x
    x = normalised_relu(convolution(x, filters, kernel_size, stride, **options))
    x = normalise(convolution(x, filters, kernel_size, **options))
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))


def stage(x, blocks: int, stride: int, filters: int, convolutions: Convolutions):
    """A stage of `blocks` residual blocks; the first one has the stride and the projected shortcut."""
    for block in range(blocks):
        x = residual_block(x, 3, stride if block == 0 else 1, filters, project=block == 0, convolutions=convolutions)
    return x


def check_sides(input_shape: Shape) -> None:
    """Raises a UsageError unless the sides of an image are multiples of 4."""
    if input_shape[0] % 4 or input_shape[1] % 4:
        raise UsageError(f"image sides: expected multiples of 4, received {tuple(input_shape)}")


def image_input(input_shape: Shape):
    """The input of a network that takes images."""
    check_sides(input_shape)
    return keras.Input(input_shape, name="image")


def bottleneck_of(input_shape: Shape, width: int) -> Shape:
    """The shape where encoder and decoder meet: a quarter of the image's sides, 4k channels."""
    check_sides(input_shape)
    return input_shape[0] // 4, input_shape[1] // 4, 4 * width


def rescaled(image, pixel_levels: int = 255):
    """Rescales images in [0,1] to the paper's [-1,1]."""
    return keras.layers.Rescaling(2 * 255 / pixel_levels, -1)(image)


def logits_of(x, classes: int, initializer: str = "glorot_uniform"):
    """The last layer of a classifier, in Keras' default float type."""
    initializer = initializer_of(initializer)
    return keras.layers.Dense(classes, kernel_initializer=initializer, dtype=keras.config.floatx(), name="logits")(x)


def convolutions_of(spec: Experiment) -> Convolutions:
    """The experiment's settings for initial kernels and padding."""
    return Convolutions(spec.kernel_initializer, spec.last_kernel_initializer, spec.strided_padding)


def residual_multiply_adds(pixels: int, channels_in: int, filters: int, blocks: int) -> int:
    """Multiply-adds of a stage of 3×3 residual blocks on `pixels` output pixels, with its first shortcut projected."""
    first = pixels * filters * (9 * channels_in + channels_in + 9 * filters)
    return first + (blocks - 1) * pixels * 18 * filters * filters
