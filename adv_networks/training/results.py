"""Writes the results of a finished run: its networks, pictures, and a description with their hashes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adv_networks.data import Images
from adv_networks.defences import NeededRun, TrainingState
from adv_networks.evaluation import save_model
from adv_networks.experiments import METHODS, Experiment, find_dataset
from adv_networks.lazy import np
from adv_networks.storage import pictures
from adv_networks.storage.files import write_text, write_whole
from adv_networks.storage.hashes import arrays_hash, file_hash, weights_hash


def save(
    experiment: Experiment,
    workdir: Path,
    state: TrainingState,
    needed: Mapping[str, NeededRun],
    validation: Images,
    shown: Images,
    description: Mapping[str, Any],
) -> None:
    """Writes the files that the method promises (`Defence.files`), and then marks the run as finished.

    Args:
        experiment: the experiment of the run.
        workdir: the directory of the run.
        state: what was trained; networks in mixed precision are saved as float32 networks.
        needed: the runs that this run builds on.
        validation: the images held out for validation.
        shown: images of which the first are shown in pictures.
        description: the content of experiment.json so far.
    """
    method = METHODS[experiment.method]
    if experiment.precision != "float32":
        trained, state = state, method.build(dataclasses.replace(experiment, precision="float32"), needed)
        state.take_weights(trained)
    hashes, class_names = {}, find_dataset(experiment.dataset).class_names
    for name, model in state.networks().items():
        write_whole(workdir / name, lambda temporary, model=model: save_model(model, temporary, class_names))
        hashes[name] = {"file": file_hash(workdir / name), "weights": weights_hash(model)}
    for name, array in method.arrays(state, needed, validation, experiment).items():
        write_whole(workdir / name, lambda temporary, array=array: np.save(temporary, array))
        hashes[name] = {"file": file_hash(workdir / name), "weights": arrays_hash(array)}
    for name, figure in method.pictures(state, shown.first(method.pictured), experiment).items():
        pictures.save(figure, workdir / f"{name}.png")
    write_text(workdir / "experiment.json", json.dumps({**description, "finished": True, "hashes": hashes}, indent=2))
