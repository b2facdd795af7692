"""Data sets, each as an array of images and one of labels, and their batches. Loads TensorFlow only for batches and TFDS."""

from adv_networks.data import own_data
from adv_networks.data.batches import batches
from adv_networks.data.images import Images, NoSuchSplit
from adv_networks.data.load import check, load, training_and_validation
from adv_networks.data.own_data import from_arrays
from adv_networks.data.sources import prepared
from adv_networks.experiments import find_dataset

__all__ = [
    "Images",
    "NoSuchSplit",
    "batches",
    "check",
    "find_dataset",
    "from_arrays",
    "load",
    "own_data",
    "prepared",
    "training_and_validation",
]
