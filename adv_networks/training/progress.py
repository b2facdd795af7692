"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tqdm import tqdm


class Progress:
    """Shows how far a run is and the last of what it logged; a context that closes it."""

    def __init__(self, name: str, *, steps: int, step: int, shown: bool):
        self._accuracies: dict[str, float] = {}
        self._bar = tqdm(total=steps, initial=step, desc=name, disable=not shown, dynamic_ncols=True, mininterval=1)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.__exit__(kind, error, traceback)

    def advance(self) -> None:
        """One step more is done."""
        self._bar.update()

    def tell(self, values: Mapping[str, float], validated: Mapping[str, float]) -> None:
        """Shows the losses among the values, and accuracies on validation images until there are others."""
        self._accuracies.update(validated)
        losses = {name: f"{value:.3g}" for name, value in values.items() if "loss" in name}
        accuracies = {name.removeprefix("validation_"): f"{value:.3f}" for name, value in self._accuracies.items()}
        self._bar.set_postfix({**losses, **accuracies}, refresh=False)
