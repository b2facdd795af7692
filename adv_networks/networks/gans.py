"""The generator and critic of Defense-GAN's Wasserstein GAN (Samangouei, Kabkab and Chellappa, 2018, appendix A)."""

from __future__ import annotations

from adv_networks.errors import UsageError
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape

# For images with a smaller side, the generator has one deconvolution less and the critic one convolution less.
_SMALL_SIDE = 16


def _doublings(input_shape: Shape) -> int:
    """How many times a generator doubles its sides to reach those of the image."""
    doublings = 2 if min(input_shape[:2]) < _SMALL_SIDE else 3
    if input_shape[0] % 2 ** (doublings - 1) or input_shape[1] % 2 ** (doublings - 1):
        raise UsageError(f"image sides: expected multiples of {2 ** (doublings - 1)}, received {tuple(input_shape)}")
    return doublings


def gan_generator(input_shape: Shape, latent: int = 128, width: int = 64) -> keras.Model:
    """The generator: latent vectors [batch, latent] to images in [0,1].

    It has a fully connected layer and 5×5 deconvolutions of stride 2, without BN. 28×28 images grow from 4×4 to 8×8, which is
    cropped to 7×7, then to 14×14 and 28×28.

    Raises:
        UsageError: image sides that doubling cannot reach.
    """
    doublings = _doublings(input_shape)
    latents, filters = keras.Input((latent,), name="latent"), [width * 2**power for power in range(doublings - 1, -1, -1)]
    height, side = (-(-size // 2**doublings) for size in input_shape[:2])
    x = keras.layers.Dense(height * side * filters[0], activation="relu")(latents)
    x = keras.layers.Reshape((height, side, filters[0]))(x)
    for number, count in enumerate((*filters[1:], input_shape[2]), 1):
        last = number == doublings
        x = keras.layers.Conv2DTranspose(count, 5, 2, padding="same", activation="sigmoid" if last else "relu")(x)
        excess = [x.shape[1 + axis] - input_shape[axis] // 2 ** (doublings - number) for axis in (0, 1)]
        x = keras.layers.Cropping2D(((0, excess[0]), (0, excess[1])))(x) if any(excess) else x
    return keras.Model(latents, x, name="gan_generator")


def gan_critic(input_shape: Shape, width: int = 64) -> keras.Model:
    """The critic: images in [0,1] to one number [batch, 1], by 5×5 convolutions of stride 2 with LeakyReLU, without BN."""
    image = x = keras.Input(input_shape, name="image")
    for power in range(_doublings(input_shape)):
        x = keras.layers.LeakyReLU(negative_slope=0.2)(keras.layers.Conv2D(width * 2**power, 5, 2, padding="same")(x))
    return keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(x)), name="gan_critic")


def gan_multiply_adds(input_shape: Shape, latent: int, width: int) -> tuple[int, int]:
    """Multiply-adds of the generator and of the critic on one image."""
    doublings = _doublings(input_shape)
    filters = [width * 2**power for power in range(doublings - 1, -1, -1)]
    pixels = [-(-input_shape[0] // 2**power) * -(-input_shape[1] // 2**power) for power in range(doublings, -1, -1)]
    pairs = list(zip(filters, (*filters[1:], input_shape[2]), pixels, strict=False))
    return (
        latent * pixels[0] * filters[0] + sum(25 * first * second * side for first, second, side in pairs),
        sum(25 * first * second * side for first, second, side in pairs) + pixels[0] * filters[0],
    )
