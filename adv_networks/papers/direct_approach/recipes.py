"""The paper's recipes by data set, and two protocols: the text, and the authors' released code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adv_networks.experiments import DEFAULT_RECIPE, PROTOCOLS, RECIPES, SETTINGS, Dataset, Protocol, experiment, written

# SGD for G, with its rates: used by the released code, and by the text for SVHN and for lone generators.
SGD = dict(generator_optimizer="sgd", generator_learning_rate=0.01, generator_momentum=0.9)

_CIFAR = dict(
    epsilon=8 / 256, classifier="d2", classifier_width=16,
    learning_rate=0.1, learning_rate_drops=(0.5,), weight_decay=1e-5, augment_pad=4,
)  # fmt: skip

RECIPES.update(
    # The digits are not in the paper. Their recipe is MNIST's; ε was chosen on the validation images (accuracy of A and C under
    # PGD after 600 iterations, in %: 2 and 22 at 0.2, 14 and 52 at 0.15, 57 and 81 at 0.1). The GAN of Defense-GAN has fewer
    # latent numbers than pixels, and a learning rate for which 600 steps are enough.
    digits=dict(epsilon=0.15, weight_decay=1e-3, generator_width=8, gan_latent=16, gan_learning_rate=1e-3),
    mnist=dict(epsilon=0.3, weight_decay=1e-3),
    svhn=dict(epsilon=0.05, classifier="d2", classifier_width=16, learning_rate_drops=(0.5,), weight_decay=1e-5,
              extra_images=80_000, **SGD),
    cifar10=_CIFAR,
    cifar100=_CIFAR,
)  # fmt: skip


def _for_images_like(dataset: Dataset) -> Mapping[str, Any]:
    """MNIST's recipe for grey images of at most 28 × 28 pixels, else CIFAR10's without flips, which might change the class."""
    height, width, channels = dataset.image_shape
    small = channels == 1 and max(height, width) <= 28
    return RECIPES["mnist"] if small else {**_CIFAR, "augment_pad": 0}


DEFAULT_RECIPE.append(_for_images_like)

_GAME = ("advnet", "advnet+ensemble", "advnet_several")

PROTOCOLS |= {
    "paper": Protocol("paper", "as the paper's text says"),
    "released": Protocol(
        "released",
        "as the authors' released code does",
        (
            (None, None, dict(regulariser_sign=-1, finite_difference_rate="discriminator", bn_evaluation="batch",
                              pgd_clip_start=False)),
            (("digits", "mnist"), None, dict(logits_initializer="glorot_uniform")),
            (("svhn", "cifar10", "cifar100"), None, dict(encoder_widths=(1, 2, 4), strided_padding="symmetric",
                                                          last_kernel_initializer="truncated_normal")),
            (None, ("standard", "pgd", "ensemble"), dict(weight_decay=1e-4)),
            (("mnist",), ("standard",), dict(learning_rate=0.1)),
            (("mnist",), ("ensemble",), dict(learning_rate=0.1, learning_rate_drops=(0.5,))),
            (("mnist",), _GAME, dict(weight_decay=1e-5, generator_weight_decay=1e-5, learning_rate_drops=(0.5,),
                                           discriminator_period=5, generators=("released_mnist",), **SGD)),
            (("svhn",), None, dict(stem_normalisation=False, final_normalisation=True, pixel_levels=256,
                                   extra_replacement=True, kernel_initializer="truncated_normal")),
            (("svhn",), _GAME, dict(weight_decay=1e-4, generator_weight_decay=1e-4)),
            (("cifar10", "cifar100"), None, dict(augment_pad=2, kernel_initializer="lecun_normal")),
            (("cifar10", "cifar100"), ("standard", "ensemble"), dict(learning_rate_drops=(0.5, 0.75))),
            (("cifar10", "cifar100"), _GAME, dict(weight_decay=1e-5, generator_weight_decay=1e-5)),
        ),
    ),
}  # fmt: skip


def deviations(dataset: str, method: str) -> dict[str, dict[str, Any]]:
    """The settings in which the released code deviates from the text, in the training of a method or in its evaluation.

    They are keyed by the label of a table row. Each setting is separate, but G's optimiser and its rates count as one.
    """
    text, released = (experiment(dataset, method, protocol=name, scale="paper") for name in ("paper", "released"))
    own, theirs = text.settings(), released.settings()
    groups: dict[str, dict[str, Any]] = {}
    for key, value in PROTOCOLS["released"].settings(dataset, method).items():
        # Beyond training, evaluation reads PGD's settings and how BN is evaluated.
        is_read = text.trains_with(key) or SETTINGS[key].metadata["part"] in ("pgd", "frozen")
        if is_read and own[key] != theirs[key]:
            groups.setdefault("G by SGD" if key in SGD else f"{key} = {written(value)}", {})[key] = value
    return groups
