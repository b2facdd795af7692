"""The checkpoints of a run: the last two are kept, and one that is not whole does not count."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError
from adv_networks.lazy import tf
from adv_networks.storage.files import explained, reason, write_text, write_whole
from adv_networks.storage.run_directories import listed_steps

KEPT = 2
_PARTS = ("index", "data-00000-of-00001")


class Checkpoints:
    """Saves and restores the step and a state in a directory that no other process writes to.

    TensorFlow writes the two files of a checkpoint under their final names, and a kill may leave them half written. So a
    checkpoint counts only if the directory's list, the file `checkpoint`, names it. The list is replaced atomically, after
    the files are written and before older files are removed.

    Examples:
        >>> import pathlib, tempfile, tensorflow as tf
        >>> from adv_networks import training
        >>> with tempfile.TemporaryDirectory() as place:
        ...     training.Checkpoints(pathlib.Path(place), weight=tf.Variable(1.0)).save(step=10)
        ...     training.Checkpoints(pathlib.Path(place), weight=tf.Variable(0.0)).restore()
        10
    """

    def __init__(self, directory: Path, **state: Any):
        self.directory = directory
        self._damages = (OSError, ValueError, LookupError, AssertionError, tf.errors.OpError)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.tracked = tf.train.Checkpoint(step=self.step, **state)
        self.tracked.save_counter.assign(0)  # Created here because older runs' checkpoints, by CheckpointManager, have one.
        with explained(f"writing {directory}"):
            directory.mkdir(parents=True, exist_ok=True)

    def restore(self) -> int:
        """Restores the last whole checkpoint, removes files that are not whole, and returns the step; 0 if there is none.

        If a checkpoint is damaged, a line on standard error says so, and the one before it is used.

        Raises:
            UserError: all checkpoints are damaged, or the last one lacks a file. No file is changed then.
        """
        listed = self._listed()
        damaged: dict[int, str] = {}
        for step in reversed(listed):
            try:
                self.tracked.restore(str(self._file(step))).assert_consumed()
            except self._damages as error:
                damaged[step] = reason(error)
                continue
            for other, found in damaged.items():
                print(f"{self._file(other)}: damaged, continuing from step {step} ({found})", file=sys.stderr)
            self._keep([kept for kept in listed if kept <= step and not self._lacks(kept)])
            return int(self.step.numpy())
        if damaged:
            raise UserError(f"{self._file(listed[-1])}: expected a whole checkpoint, found: {damaged[listed[-1]]}")
        self._clean([])
        return 0

    def restore_last(self) -> int:
        """Restores the checkpoint that another process has just restored with `restore`; changes no file.

        Returns:
            The step; 0 if there is no checkpoint.

        Raises:
            UserError: the checkpoint cannot be restored.
        """
        listed = self._listed()
        if not listed:
            return 0
        file = self._file(listed[-1])
        try:
            self.tracked.restore(str(file)).assert_consumed()
        except self._damages as error:
            raise UserError(f"{file}: expected a whole checkpoint, found: {reason(error)}") from None
        return listed[-1]

    def save(self, step: int) -> None:
        """Writes a checkpoint, and removes all but this one and the one before it.

        Raises:
            UserError: it cannot be written; the earlier checkpoints stay whole.
        """
        earlier = self._listed()
        self.step.assign(step)
        with explained(f"writing {self._file(step)}", tf.errors.OpError):
            try:
                self.tracked.write(str(self._file(step)))
                self._keep([*earlier, step][-KEPT:])
            except BaseException:
                with contextlib.suppress(UserError):
                    self._clean(earlier)
                raise

    def _file(self, step: int) -> Path:
        return self.directory / f"ckpt-{step}"

    def _lacks(self, step: int) -> list[str]:
        return [name for part in _PARTS if not (self.directory / (name := f"ckpt-{step}.{part}")).is_file()]

    def _listed(self) -> list[int]:
        """The steps of the checkpoints that count, ascending: those in the list, or without a list all that exist."""
        steps = listed_steps(self.directory)
        if not steps:
            return sorted(
                int(index.stem[5:])
                for index in self.directory.glob("ckpt-*.index")
                if re.fullmatch("[0-9]{1,18}", index.stem[5:])
            )
        lacking = self._lacks(steps[-1])
        if lacking:
            raise UserError(
                f"{self.directory}: expected {' and '.join(lacking)}, found none "
                f"(remove {self.directory / 'checkpoint'} to continue from an earlier step)"
            )
        return steps

    def _keep(self, steps: list[int]) -> None:
        _list(self.directory, steps)
        self._clean(steps)

    def _clean(self, steps: list[int]) -> None:
        """Removes the files of all other checkpoints, including those of killed writes."""
        kept = {f"ckpt-{step}.{part}" for step in steps for part in _PARTS}
        with explained(f"removing old files in {self.directory}"):
            for file in (*self.directory.glob("ckpt-*"), *self.directory.glob("checkpoint.tmp*")):
                if file.is_dir():
                    shutil.rmtree(file)
                elif file.name not in kept:
                    file.unlink(missing_ok=True)


def copy_checkpoints(source: Path, target: Path) -> None:
    """Copies the checkpoints that count from a directory that no process writes to into one that has none.

    Raises:
        UserError: a file is missing or cannot be written.
    """
    steps = listed_steps(source)
    for step in steps:
        for part in reversed(_PARTS):  # Without a list, a checkpoint counts once it has its index.
            name = f"ckpt-{step}.{part}"
            write_whole(target / name, lambda temporary, file=source / name: shutil.copyfile(file, temporary))
    _list(target, steps)


def _list(directory: Path, steps: list[int]) -> None:
    """Writes the list of the checkpoints that count."""
    paths = [f'all_model_checkpoint_paths: "ckpt-{step}"\n' for step in steps]
    write_text(directory / "checkpoint", f'model_checkpoint_path: "ckpt-{steps[-1]}"\n' + "".join(paths))
