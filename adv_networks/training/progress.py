"""Shows the progress of a run: a bar on a terminal, and plain lines elsewhere."""

from __future__ import annotations

import itertools
import logging
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from tqdm import tqdm

_LOGGER = logging.getLogger(__name__)
# At 80 columns, 200,000 steps, two losses and two accuracies leave eight columns for the bar.
_BAR = "{bar} {n_fmt}/{total_fmt} {rate_noinv_fmt} {remaining}{postfix}"
_LEAST_BAR, _RATE, _REMAINING = 8, len("1234.50/s"), len("12:34:56")


class Progress:
    """Shows the progress of a run and its last logged values. It is a context manager, which closes the bar.

    On a terminal it draws a bar below the run's name. Elsewhere (a file, a batch system) it prints a line every tenth of the
    steps.

    Args:
        name: name of the run.
        steps: number of steps of the run.
        step: the step from which the run continues.
        shown: whether anything is printed.
    """

    def __init__(self, name: str, *, steps: int, step: int, shown: bool):
        self._name, self._steps, self._step = name, steps, step
        self._first, self._begun = step, time.monotonic()
        self._accuracies: dict[str, float] = {}
        self._losses: dict[str, float] = {}
        is_terminal = sys.stderr.isatty()
        self._writes_lines = shown and not is_terminal
        if shown:
            _LOGGER.info("training %s; the first step takes longest, because it builds the graph", name)
        self._bar = tqdm(
            total=steps, initial=step, unit="", bar_format=_BAR, disable=not (shown and is_terminal),
            dynamic_ncols=True, mininterval=1, file=sys.stderr,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.__exit__(kind, error, traceback)

    def advance(self) -> None:
        """Counts one more step."""
        self._step += 1
        self._bar.update()
        if self._writes_lines and self._step * 10 // self._steps > (self._step - 1) * 10 // self._steps:
            print(self._line(), file=sys.stderr, flush=True)

    def tell(self, values: Mapping[str, float], validated: Mapping[str, float]) -> None:
        """Sets the losses to show, and the validation accuracies, which stay until there are new ones."""
        self._losses = {name.removesuffix("_loss").upper(): value for name, value in values.items() if name.endswith("loss")}
        self._accuracies.update({name.removeprefix("validation_"): value for name, value in validated.items()})
        others = _LEAST_BAR + _RATE + _REMAINING + len(f" {self._steps}/{self._steps}   , ")
        room = shutil.get_terminal_size().columns - others
        self._bar.set_postfix_str(_fitting(self._parts(), room), refresh=False)

    def _parts(self) -> list[str]:
        """The last logged values, the most important first."""
        names = sorted(self._accuracies, key=lambda name: {"clean": 0, "pgd": 1}.get(name, 2))
        losses = [f"{name} {value:.3g}" for name, value in self._losses.items()]
        return losses + [f"{name} {100 * self._accuracies[name]:.1f}" for name in names]

    def _line(self) -> str:
        rate = (self._step - self._first) / max(1e-9, time.monotonic() - self._begun)
        left = tqdm.format_interval((self._steps - self._step) / rate)
        parts = [f"{self._name}: step {self._step} of {self._steps}", f"{rate:.3g} steps/s", f"{left} left", *self._parts()]
        return ", ".join(parts)


def _fitting(parts: Sequence[str], room: int) -> str:
    """The first parts, as many as fit into `room` columns."""
    lengths = itertools.accumulate(len(part) + 1 for part in parts)
    return " ".join(part for part, length in zip(parts, lengths, strict=True) if length - 1 <= room)
