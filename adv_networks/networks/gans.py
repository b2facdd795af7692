"""Generator and critic of Defense-GAN's Wasserstein GAN (Samangouei, Kabkab and Chellappa, 2018, "Defense-GAN", appendix A)."""

from __future__ import annotations

from adv_networks.errors import UsageError
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape

# Images of fewer pixels a side have one deconvolution, and one convolution of the critic, less.
_SMALL_SIDE = 16


def _doublings(input_shape: Shape) -> int:
    """How often a generator doubles its side on the way to the image's."""
    doublings = 2 if min(input_shape[:2]) < _SMALL_SIDE else 3
    if input_shape[0] % 2 ** (doublings - 1) or input_shape[1] % 2 ** (doublings - 1):
        raise UsageError(f"image sides: expected multiples of {2 ** (doublings - 1)}, received {tuple(input_shape)}")
    return doublings


def gan_generator(input_shape: Shape, latent: int = 128, width: int = 64) -> keras.Model:
    """Images in [0,1] from latent vectors [batch, latent]: a fully connected layer and 5×5 deconvolutions of stride 2, no BN.

    28×28 images grow from 4×4 by way of 8×8, cropped to 7×7, and 14×14.

    Raises:
        UsageError: sides that it cannot grow to.
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
    """The critic: images in [0,1] to a number [batch, 1], by 5×5 convolutions of stride 2 with LeakyReLU, no BN."""
    image = x = keras.Input(input_shape, name="image")
    for power in range(_doublings(input_shape)):
        x = keras.layers.LeakyReLU(negative_slope=0.2)(keras.layers.Conv2D(width * 2**power, 5, 2, padding="same")(x))
    return keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(x)), name="gan_critic")


def gan_multiply_adds(input_shape: Shape, latent: int, width: int) -> tuple[int, int]:
    """Multiply-adds of generator and critic on one image."""
    doublings = _doublings(input_shape)
    filters = [width * 2**power for power in range(doublings - 1, -1, -1)]
    pixels = [-(-input_shape[0] // 2**power) * -(-input_shape[1] // 2**power) for power in range(doublings, -1, -1)]
    pairs = list(zip(filters, (*filters[1:], input_shape[2]), pixels, strict=False))
    return (
        latent * pixels[0] * filters[0] + sum(25 * first * second * side for first, second, side in pairs),
        sum(25 * first * second * side for first, second, side in pairs) + pixels[0] * filters[0],
    )
