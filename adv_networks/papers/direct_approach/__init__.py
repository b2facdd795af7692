"""Wang and Yu, 2019, "A Direct Approach to Robust Deep Learning Using Adversarial Networks", ICLR."""

from adv_networks.papers.direct_approach import readings, recipes, statements, tables

__all__ = ["readings", "recipes", "statements", "tables"]

SOURCE = statements.SOURCE
