"""Sources of images, one module per kind. None of them loads TensorFlow before it reads.

To add a data set, write a module that declares it and registers its source, and import it below:

    class Shades(Source):
        def __init__(self, place: Place): ...
        def read(self, split: str, limit: int = 0) -> Images: ...
        def check(self, splits: Sequence[str]) -> None: ...

    register(Dataset("shades", None, (8, 8, 1), classes=2, ...), Shades)

`InMemory` is a source for splits that are already in memory. A data set of TensorFlow Datasets needs only its declaration, with
its `tfds_name`.
"""

from adv_networks.data.sources import digits
from adv_networks.data.sources.base import SOURCES, InMemory, Place, Source, register
from adv_networks.data.sources.tfds import Tfds
from adv_networks.experiments import Dataset


def source_of(dataset: Dataset, place: Place) -> Source:
    """The source of a data set: the registered one, or TensorFlow Datasets."""
    return SOURCES.get(dataset.name, lambda place: Tfds(dataset.tfds_name or dataset.name, place))(place)


__all__ = ["InMemory", "Place", "Source", "digits", "register", "source_of"]
