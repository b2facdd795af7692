"""The networks of the sources, one module per family, which registers the names for `--classifier` and `--generators`.

The paper's networks (appendix, Figs. 2-4) are built from one residual block. Classifiers take images in [0,1] and return
logits; a layer of theirs rescales the images, in the paper's networks to [-1,1]. Generators return a perturbation of the
image's shape, in [-1,1] or of l2 or l1 norm 1 (`norm`); the name of their input ("image", "noise" or "label") says what they
take. The last layer always computes in Keras' default float type, the others in less under a mixed policy (`computing_in`).
Dropout follows the seed of the training step (`runtime.dropping`).

The paper's networks need image sides that are multiples of 4. The paper does not state BN's momentum (0.997) and ε (1e-5), the
projection shortcut in the first block of every stage, or D1's Glorot kernels; they come from the authors' released code. The
other kernels start He-normal, as in that code's MNIST generator; `blocks.Convolutions` has its other choices. Starting D1's
last layer at zero in experiments is our choice (`logits_initializer`): from random values, PGD training on MNIST at the paper's
learning rate silences the second convolution within 100 steps, whatever the kernels (docs/choices.md).
"""

from adv_networks.networks.blocks import Convolutions, Shape, residual_block

# Families in the order in which they are listed.
# isort: off
from adv_networks.networks.discriminative import classifier, d1, d2
from adv_networks.networks.mlp import mlp
from adv_networks.networks.cnn_cw import cnn_cw
from adv_networks.networks.report_cnn import report_cnn
from adv_networks.networks.dg import dg
from adv_networks.networks.generative import (
    SHORTEST,
    g1,
    g2,
    g3,
    generator_input,
    generators,
    perturbation_of,
    released_mnist_generator,
)
from adv_networks.networks.poster import poster_d, poster_g

# isort: on
from adv_networks.networks.own import classifier_as_it_is, let_files_load
from adv_networks.networks.precision import computing_in
from adv_networks.runtime import discarding_statistics, loss_scale

__all__ = [
    "SHORTEST", "Convolutions", "Shape", "classifier", "classifier_as_it_is", "cnn_cw", "computing_in", "d1", "d2", "dg",
    "discarding_statistics", "g1", "g2", "g3", "generator_input", "generators", "let_files_load", "loss_scale", "mlp",
    "perturbation_of", "poster_d", "poster_g", "released_mnist_generator", "report_cnn", "residual_block",
]  # fmt: skip
