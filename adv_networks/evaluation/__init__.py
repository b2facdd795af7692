"""Accuracies under attack: one classifier, or a grid of targets against sources, as records with their provenance."""

from adv_networks.attacks.crafting import BATCH_SIZE, craft_all
from adv_networks.evaluation.accuracy import accuracy, correct_masks, evaluate
from adv_networks.evaluation.defended import Defended, as_defended, target_hash
from adv_networks.evaluation.grid import grid, worst
from adv_networks.evaluation.measures import PerImage, measure
from adv_networks.evaluation.models import (
    check_classifier,
    class_names_of,
    is_generator,
    load_classifier,
    load_model,
    save_model,
)
from adv_networks.storage.hashes import file_hash, images_hash, weights_hash

__all__ = [
    "BATCH_SIZE", "Defended", "PerImage", "accuracy", "as_defended", "check_classifier", "class_names_of", "correct_masks",
    "craft_all", "evaluate", "file_hash", "grid", "images_hash", "is_generator", "load_classifier", "load_model", "measure",
    "save_model", "target_hash", "weights_hash", "worst",
]  # fmt: skip
