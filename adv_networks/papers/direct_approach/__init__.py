"""Wang and Yu, 2019, "A Direct Approach to Robust Deep Learning Using Adversarial Networks", ICLR."""

from adv_networks.papers.direct_approach import recipes, statements, tables

__all__ = ["recipes", "statements", "tables"]

SOURCE = statements.SOURCE
