"""Writes a run's events for TensorBoard: scalars, pictures, settings, and the graph of its step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adv_networks.experiments import METHODS, Experiment, written
from adv_networks.lazy import np, tf
from adv_networks.storage.files import explained, remove_leftovers, write_whole

_COMPARED = ("clean", "fgs", "pgd", "generator")
# The first key that occurs in a scalar's name gives the group of its tag; without one, the group is "other".
_GROUPS = {
    "validation": "validation", "gradient_norm": "gradient", "regulariser": "regulariser", "weight_decay": "loss",
    "loss": "loss", "rate": "rate", "accuracy": "accuracy", "per_second": "speed",
}  # fmt: skip
# Charts of the tab "Custom Scalars": by category and title, regular expressions of the tags whose curves share a chart.
_LAYOUT = {
    "losses": {"D": [r"loss/d_loss.*"], "G, step by step": [r"loss/g_loss.*"]},
    "accuracy": {"on validation images": [r"validation/.*"], "on the minibatch": [r"accuracy/.*"]},
    "gradients": {"norms": [r"gradient/.*"], "regulariser": [r"regulariser/.*"]},
    "rates": {"learning rates": [r"rate/.*"]},
}


def tag(name: str) -> str:
    """The TensorBoard tag of a column of `metrics.csv`: its group and its name.

    Examples:
        >>> from adv_networks.training.events import tag
        >>> tag("d_loss"), tag("validation_pgd"), tag("generator_learning_rate")
        ('loss/d_loss', 'validation/pgd', 'rate/generator_learning_rate')
    """
    group = next((group for part, group in _GROUPS.items() if part in name), "other")
    return f"{group}/{name.removeprefix('validation_')}"


def directory_of(workdir: Path) -> Path:
    """The directory of a run's event files: that of the run, so that TensorBoard shows the run by its name.

    Older runs have a directory `events`, and continue to use it.
    """
    earlier = workdir / "events"
    return earlier if earlier.is_dir() else workdir


class Events:
    """Writes a run's event file; each method writes at once, or raises a UserError."""

    def __init__(self, directory: Path, experiment: Experiment, step: int):
        """Opens the file for a run that continues from `step`. Events of later steps in earlier files are dropped.

        The first file of a run has the run's settings, for TensorBoard's HParams table.
        """
        self._doing = f"writing {directory}"
        with explained(self._doing, tf.errors.OpError):
            begins = not _drop_after(directory, step)
            self._writer = tf.summary.create_file_writer(str(directory))
        if begins:
            self._say_settings(experiment)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        with explained(self._doing, tf.errors.OpError), self._writer.as_default():
            yield
            self._writer.flush()

    def _say_settings(self, experiment: Experiment) -> None:
        from tensorboard.plugins.custom_scalar import summary
        from tensorboard.plugins.hparams import api

        named = {name: value for name, value in experiment.settings().items() if name != "overrides"}
        plain = {name: written(tuple(value)) if isinstance(value, list) else value for name, value in named.items()}
        with self._written():
            compared = [name for name in _COMPARED if name != "generator" or METHODS[experiment.method].trains_generator]
            metrics = [api.Metric(tag(f"validation_{name}"), display_name=name) for name in compared]
            api.hparams_config(hparams=[api.HParam(name) for name in plain], metrics=metrics)
            api.hparams(plain, trial_id=experiment.name)
            layout = summary.pb(_layout(with_generator=METHODS[experiment.method].trains_generator))
            tf.summary.experimental.write_raw_pb(layout.SerializeToString(), step=0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars by name."""
        with self._written():
            for name, value in values.items():
                tf.summary.scalar(tag(name), value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image, uint8 [height, width, channels]."""
        with self._written():
            tf.summary.image(name, image[None], step)

    @contextlib.contextmanager
    def graph(self) -> Iterator[None]:
        """Writes the graph of what TensorFlow compiles and runs inside this context."""
        tf.summary.trace_on(graph=True, profiler=False)
        try:
            yield
            with self._written():
                tf.summary.trace_export("step", step=0)
        finally:
            tf.summary.trace_off()


def _layout(*, with_generator: bool) -> Any:
    """The charts of Custom Scalars, without those of a generator if there is none."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title=category,
                chart=[
                    layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
                    for title, tags in charts.items()
                    if with_generator or not (title.startswith("G") or title == "regulariser")
                ],
            )
            for category, charts in _LAYOUT.items()
        ]
    )


def _drop_after(directory: Path, step: int) -> bool:
    """Drops the events after a step (all events if it is 0), and returns whether files are left.

    Otherwise TensorBoard would show these steps twice after the run has repeated them.
    """
    if not directory.is_dir():
        return False
    remove_leftovers(directory)
    for file in directory.glob("*tfevents*"):
        records = list(_whole_records(file))
        kept = [record for record in records if step and tf.compat.v1.Event.FromString(record).step <= step]
        if not kept:
            file.unlink()
        elif len(kept) < len(records):
            write_whole(file, lambda temporary, kept=kept: _write_records(temporary, kept))
    return any(directory.glob("*tfevents*"))


def _whole_records(file: Path) -> Iterator[bytes]:
    """The serialised events of a file, up to one that a kill cut short."""
    with contextlib.suppress(tf.errors.DataLossError):
        yield from tf.data.TFRecordDataset(str(file)).as_numpy_iterator()


def _write_records(file: Path, records: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
