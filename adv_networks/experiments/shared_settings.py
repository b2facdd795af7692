"""The settings that every experiment has, with their defaults, ranges and help."""

from __future__ import annotations

import dataclasses

from adv_networks.experiments.networks import CLASSIFIERS, GENERATORS
from adv_networks.experiments.settings import CONVEX_NORMS, setting

_INITIALIZERS = ("he_normal", "lecun_normal", "truncated_normal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedSettings:
    """The settings that recipes, protocols, scales and flags can set for every method."""

    epsilon: float = setting(0.3, "size of the perturbations in the norm, on the [0,1] pixel scale", "perturbation", above=0)
    norm: str = setting(
        "linf",
        "norm of the perturbations, in training and under attack; l2 and l1 need an epsilon",
        "perturbation",
        choices=tuple(CONVEX_NORMS),
    )
    steps: int = setting(200_000, "iterations: minibatches seen by D", least=1)
    batch_size: int = setting(64, "images per minibatch", least=1)
    precision: str = setting(
        "float32",
        "precision of the layers in training; weights, sums and saved files are float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    xla: bool = setting(False, "compile the training step with XLA")

    classifier: str = setting(
        "d1",
        "discriminative network: a name that --list shows, or your own: a .keras file, or module:function that returns a Keras "
        "model with logits as output; your own needs an input_range",
        "classifier",
        choices=CLASSIFIERS,
    )
    input_range: tuple[float, ...] = setting(
        (0.0, 1.0),
        "LOW,HIGH: the pixel range of your own classifier, its inputs for black and white, with --model or --classifier",
        "classifier",
    )
    classifier_weights: str = setting(
        "kept",
        "whether your own classifier starts from its saved weights, or from fresh ones",
        "classifier",
        choices=("kept", "fresh"),
    )
    from_run: str = setting(
        "", "start from the weights of this finished run: its directory, or its name if it lies beside this run (--from)"
    )
    class_weights: str = setting(
        "none",
        "weights of the classes in the loss; balanced gives rare classes more weight, so that all classes count the same",
        "classes",
        choices=("none", "balanced"),
    )
    classifier_width: int = setting(
        32, "filters of the discriminative network's first convolution; hidden units of mlp", "classifier", least=1
    )
    input_dropout: float = setting(0.2, "mlp: the fraction of pixels dropped in training", "classifier", least=0, below=1)
    dropout: float = setting(
        0.5,
        "mlp, cnn_cw, report_cnn: the fraction of units of hidden dense layers dropped in training",
        "classifier",
        least=0,
        below=1,
    )
    logits_initializer: str = setting(
        "zeros", "d1: initial kernel of the last layer", "classifier", choices=("zeros", "glorot_uniform")
    )
    stem_normalisation: bool = setting(True, "d2: BN and ReLU follow the first convolution", "classifier")
    final_normalisation: bool = setting(False, "d2: BN and ReLU precede the pooling", "classifier")
    kernel_initializer: str = setting(
        "he_normal",
        "initial kernels of d2 and of the generators; truncated_normal (standard deviation 0.02) also sets those of their "
        "fully connected layers",
        choices=_INITIALIZERS,
    )
    strided_padding: str = setting(
        "same",
        "padding of strided convolutions: TensorFlow's (same), or equal at both ends (symmetric)",
        choices=("same", "symmetric"),
    )
    pixel_levels: int = setting(255, "the networks see pixel / this, rescaled to [-1,1]", choices=(255, 256))
    learning_rate: float = setting(0.01, "initial learning rate of D, η_D", "classifier", above=0)
    learning_rate_drops: tuple[float, ...] = setting(
        (), "fractions of the iterations after which η_D is divided by 10", "classifier", above=0, most=1
    )
    optimizer: str = setting("sgd", "optimiser of D", "classifier", choices=("sgd", "rmsprop", "adam"))
    momentum: float = setting(0.9, "momentum of D's SGD, ρ of RMSProp, β1 of Adam", "classifier", least=0, most=1)
    weight_decay: float = setting(1e-5, "wd of the term wd/2 Σ w² over D's kernels", "classifier", least=0)
    weight_l1: float = setting(0.0, "λ of the term λ Σ |w| over D's kernels", "classifier", least=0)

    generators: tuple[str, ...] = setting(
        ("g1",),
        "generative networks, which share out each minibatch: names that --list shows, or your own: .keras files, or "
        "module:function that returns a Keras model from images in [0,1] to perturbations",
        "generator",
        choices=GENERATORS,
    )
    generator_width: int = setting(64, "k, the width of the generative networks", "generator", least=1)
    encoder_widths: tuple[int, ...] = setting(
        (1, 1, 2), "widths of g1's three encoder convolutions, in k", "generator", least=1
    )
    intensity_unit: str = setting(
        "normalised",
        "poster_g: its tanh is cut at epsilon over the standard deviation of the images (normalised), or at epsilon (pixel)",
        "generator",
        choices=("normalised", "pixel"),
    )
    last_kernel_initializer: str = setting(
        "he_normal", "initial kernels of the generators' deconvolutions and last layer", "generator", choices=_INITIALIZERS
    )
    generator_optimizer: str = setting("adam", "optimiser of G", "generator", choices=("adam", "sgd"))
    generator_learning_rate: float = setting(0.002, "learning rate of G, η_G", "generator", above=0)
    generator_momentum: float = setting(0.5, "G's momentum: β1 of Adam, momentum of SGD", "generator", least=0, most=1)
    generator_steps: int = setting(5, "gradient steps of G on each minibatch", "generator", least=1)
    generator_weight_decay: float = setting(0.0, "wd of the term wd/2 Σ w² over G's kernels", "generator", least=0)
    clip_perturbed: bool = setting(False, "clip x + εG(x) to [0,1] in training", "generator")
    discriminator_period: int = setting(1, "D is updated once every this many minibatches", "game", least=1)

    against: str = setting(
        "standard",
        "method=generator: method of the classifier that the generator is trained against",
        "lone",
        choices=("standard", "pgd", "advnet", "ensemble", "advnet+ensemble"),
    )
    adversarial_weight: float = setting(1.0, "λ, the weight of the adversarial loss (Eq. 4)", "generator", least=0)
    clean_weight: float = setting(1.0, "weight of the loss on clean images in D's step (Eq. 4)", "game", least=0)
    gradient_penalty: float = setting(0.01, "γ, the weight of the gradient regulariser (Eq. 5)", "game", least=0)
    regulariser: str = setting(
        "fd",
        "Hessian-vector product of Eq. 5: finite difference, double backprop or none",
        "game",
        choices=("fd", "exact", "none"),
    )
    regulariser_sign: int = setting(1, "1 as in Eq. 5, -1 as in the released code", "game", choices=(1, -1))
    finite_difference_rate: str = setting(
        "generator", "h is this network's initial learning rate / 10", "game", choices=("generator", "discriminator")
    )
    compare_regulariser: bool = setting(
        False, "at each validation, also log how well the finite difference agrees with double backprop", "game"
    )

    pgd_steps: int = setting(10, "steps of PGD in training and evaluation (Eq. 7)", "pgd", least=1)
    pgd_step_fraction: float = setting(0.25, "step size of PGD, as a fraction of ε", "pgd", above=0)
    pgd_random_start: bool = setting(True, "start PGD at a random point of the ball, not at the image", "pgd")
    pgd_clip_start: bool = setting(True, "clip PGD's random start to [0,1]", "pgd")

    augment_pad: int = setting(0, "random pad-and-crop by at most this many pixels, with flips; 0: no augmentation", least=0)
    extra_images: int = setting(0, "images drawn at random from the extra split", least=0)
    extra_replacement: bool = setting(False, "draw the extra images with replacement")
    validation: int = setting(0, "training images held out for validation", least=0)
    validations: int = setting(10, "how many times a run is validated; at most once every ten iterations", least=1)
    train_images: int = setting(0, "use only this many training images, the first ones; 0: all", least=0)
    test_images: int = setting(0, "use only this many test images, the first ones; 0: all", "test", least=0)
    bn_evaluation: str = setting(
        "moving", "BN at evaluation: moving averages, or statistics of each batch of 64", "frozen", choices=("moving", "batch")
    )
