"""A table of our own, not of a paper: every defence of the project under the same attacks."""

from __future__ import annotations

from adv_networks.experiments import ADAPTIVE, TABLES, WHITE_BOX, Column, Row, Table

# So few steps that an attack through Defense-GAN's descent takes at most a minute. The settings' defaults are the authors'.
_PROJECTION = (("projection_steps", 25), ("projection_restarts", 1))
# A worst case is over the attacks that stay within the ball: these, and the clean images.
_HELD = (
    *WHITE_BOX,
    Column("APGD-CE", "apgd_ce:steps=50"),
    Column("APGD-T", "apgd_targeted:steps=20:targets=3"),
    Column("Square", "square:steps=100"),
    Column("Adaptive", ADAPTIVE),
)
# On 200 training images of MNIST this fools every image of A, B and C. With 2 × 50 steps from c = 0.1 at a rate of 0.05, 53, 96
# and 64% keep their labels.
_UNBOUNDED = "cw_l2:searches=3:steps=80:c=10:rate=0.2"
# Attacks already follow the mean gradient over draws. Averaging over draws at test time too would cost ten times as much.
_NOISE = (("noise_draws", 1),)

TABLES["defences"] = Table(
    "defences",
    "What is left of each defence under attack",
    ("digits", "mnist"),
    (
        Row("standard", "standard"),
        Row("FGS", "fgs"),
        Row("PGD", "pgd"),
        Row("ensemble", "ensemble"),
        Row("adversarial network", "advnet"),
        Row("noise", "noise", _NOISE),
        Row("distillation", "distillation"),
        Row("contrastive, nearest reference", "contrastive", (("contrastive_head", "nearest"),)),
        Row("MagNet", "magnet"),
        Row("MagNet, reformer alone", "magnet", (("magnet_parts", "reformer"),)),
        Row("Defense-GAN", "defense_gan", _PROJECTION),
    ),
    (
        *_HELD,
        Column("C&W L2", _UNBOUNDED),
        Column("C&W L2", _UNBOUNDED, metric="median l2"),
        Column("Worst case", "worst", worst_of=tuple(column.label for column in _HELD)),
    ),
    appendix="strongest",
    paper="direct_approach",  # Our other own tables are there too.
)
