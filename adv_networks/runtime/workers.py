"""The workers of a run: several processes, on any number of machines, that train it together.

Each does the same work on its part of every minibatch, and all end at the same step. Only the chief writes files. A worker's
decisions may depend only on what all workers know, or they would wait for each other forever. So what one of them learns from
files, clocks or signals is shared with all (`Workers.total`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from adv_networks.errors import UserError
from adv_networks.lazy import tf
from adv_networks.runtime.caching import caches

# The errors that TensorFlow raises on the other workers when one ends, is killed or is restarted alone.
_LOST = (
    "UnavailableError",
    "AbortedError",
    "CancelledError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
)


class Workers:
    """The processes of a strategy, including this one; with a strategy other than multi_worker it is alone."""

    def __init__(self, strategy: tf.distribute.Strategy):
        self.alone = not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.is_chief = is_chief(strategy)
        self._strategy = strategy

    def total(self, *numbers: int) -> list[int]:
        """The sum of each number over the workers; every worker must call this, and waits for the others."""
        if self.alone:
            return list(numbers)
        own_replicas = len(self._strategy.extended.worker_devices)
        return [int(total) // own_replicas for total in _sum(self._strategy)(tf.constant(numbers, tf.int64))]

    def by_chief(self, act: Callable[[], int | None]) -> int:
        """The return value of `act`, which only the chief calls while the others wait; None counts as 0."""
        return self.total((act() or 0) if self.is_chief else 0)[0]

    def check_same(self, what: str, own: int) -> None:
        """Raises a UserError if this worker's number differs from the chief's; every worker must call this."""
        expected = self.by_chief(lambda: own)
        if own != expected:
            advice = "all workers need the same command and files"
            raise UserError(f"{what}: expected {expected}, the chief's value, found {own} ({advice})")

    @contextlib.contextmanager
    def together(self, name: str) -> Iterator[None]:
        """Turns TensorFlow's error about a lost worker into one line.

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
    """A function that sums numbers over all replicas; one graph for all runs of the process."""

    def over_replicas(numbers: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, [numbers]), axis=None)

    return tf.function(over_replicas, autograph=False)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the worker that writes files and evaluates."""
    return strategy.extended.should_checkpoint
