"""Several processes, on as many machines as may be, that train one run together: its workers.

Each does the same work on its part of every minibatch, and all end at the same step. The chief alone writes files. Whatever
else a worker does may only depend on what all of them know, or they would wait for one another: what the run's files, clocks
and signals say is therefore said to all (`Workers.total`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from adv_networks.errors import UserError
from adv_networks.lazy import tf
from adv_networks.runtime.caching import caches

# What TensorFlow raises on the others when a worker ends, is killed or is started again alone.
_LOST = (
    "UnavailableError",
    "AbortedError",
    "CancelledError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
)


class Workers:
    """The processes of a strategy, of which this is one; with another strategy than multi_worker it is alone."""

    def __init__(self, strategy: tf.distribute.Strategy):
        self.alone = not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.is_chief = is_chief(strategy)
        self._strategy = strategy

    def total(self, *numbers: int) -> list[int]:
        """The sum over the workers of each number; every worker has to ask, and waits for the others."""
        if self.alone:
            return list(numbers)
        own_replicas = len(self._strategy.extended.worker_devices)
        return [int(total) // own_replicas for total in _sum(self._strategy)(tf.constant(numbers, tf.int64))]

    def by_chief(self, act: Callable[[], int | None]) -> int:
        """What `act` returns on the chief, which alone calls it, while the others wait; None counts as 0."""
        return self.total((act() or 0) if self.is_chief else 0)[0]

    def check_same(self, what: str, own: int) -> None:
        """Raises a UserError where this worker's number differs from the chief's; every worker has to ask."""
        expected = self.by_chief(lambda: own)
        if own != expected:
            advice = "all workers need the same command and files"
            raise UserError(f"{what}: expected {expected}, the chief's value, found {own} ({advice})")

    @contextlib.contextmanager
    def together(self, name: str) -> Iterator[None]:
        """Turns the news that another worker is gone into one line.

        Raises:
            UserError: another worker of the run `name` failed or was killed.
        """
        try:
            yield
        except tuple(getattr(tf.errors, name) for name in _LOST) as error:
            if self.alone:
                raise
            found = re.search(r"Collective ops is aborted by: (.*)", error.message)
            raise UserError(
                f"{name}: expected every worker to keep running, lost one ({(found[1] if found else error.message)[:200]}); "
                "restart all of them"
            ) from None


@caches.results
def _sum(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """Adds up what all replicas are given; one graph for all runs of the process."""

    def over_replicas(numbers: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, [numbers]), axis=None)

    return tf.function(over_replicas, autograph=False)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the worker that writes the files and evaluates."""
    return strategy.extended.should_checkpoint
