"""Wang, 2019, a lecture: "Security & robustness of deep learning", with the tables of the papers that it quotes."""

from adv_networks.papers.survey import statements, tables

__all__ = ["statements", "tables"]

SOURCE = statements.SOURCE
