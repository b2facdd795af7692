"""Appendices: what some tables have besides their cells, such as pictures, and numbers from several evaluations.

An appendix is a function of `Made` in its own module. It writes its files, and returns Markdown for the end of the table.
`Table.appendix` names it.
"""

from __future__ import annotations

from collections.abc import Callable

from adv_networks.tables.appendices.base import Made
from adv_networks.tables.appendices.digit_by_epsilon import digit_by_epsilon
from adv_networks.tables.appendices.generator_curves import generator_curves
from adv_networks.tables.appendices.latent_spaces import latent_spaces
from adv_networks.tables.appendices.panels_by_epsilon import panels_by_epsilon
from adv_networks.tables.appendices.photograph_curves import photograph_curves
from adv_networks.tables.appendices.photographed_images import photographed_images
from adv_networks.tables.appendices.reconstruction_errors import reconstruction_errors
from adv_networks.tables.appendices.strongest import strongest
from adv_networks.tables.appendices.vanishing_gradients import vanishing_gradients

APPENDICES: dict[str, Callable[[Made], str]] = {
    appendix.__name__: appendix
    for appendix in (
        digit_by_epsilon,
        generator_curves,
        latent_spaces,
        panels_by_epsilon,
        photograph_curves,
        photographed_images,
        reconstruction_errors,
        strongest,
        vanishing_gradients,
    )
}

__all__ = ["APPENDICES", "Made"]
