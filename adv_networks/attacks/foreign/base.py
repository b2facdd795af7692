"""An attack of another library as one of ours. No library is loaded before one of its attacks is asked for.

The library's result counts only within the declared ball: an image that it moves farther, or out of [0,1], is taken as it was
before. So a minimal-norm attack fools a classifier where its smallest perturbation is at most ε.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import random
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adv_networks.attacks.base import Attack, Crafted, are_changed
from adv_networks.attacks.distances import are_within
from adv_networks.attacks.inputs import ROUNDING, as_seed
from adv_networks.attacks.targets import TARGETS
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import LIBRARIES, NORMS, Library, choose
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# Of (model, images, labels): adversarial images.
Runner = Callable[..., np.ndarray]

# The libraries draw from global generators, which the threads of several devices share.
_drawing = threading.Lock()


def find(attack: ForeignAttack, kinds: Mapping[str, type]) -> type:
    """The class that the attack names among those of its library, or a UsageError that says which are like it."""
    if attack.algorithm in kinds:
        return kinds[attack.algorithm]
    like = difflib.get_close_matches(attack.algorithm, kinds, cutoff=0.4) or sorted(kinds)
    raise UsageError(
        f"attack: expected one of the {len(kinds)} of {attack.library}, {', '.join(like[:3])} for instance, "
        f"received {attack.algorithm}"
    )


def check_arguments(attack: ForeignAttack, accepted: Iterable[str]) -> None:
    """Raises a UsageError where the attack has an argument that is not accepted; epsilon and norm, the ball's, always are."""
    accepted = {*accepted}
    for argument, _ in attack.arguments:
        if argument not in accepted:
            names = ", ".join(sorted({*accepted, "epsilon", "norm"}))
            raise UsageError(f"attack {attack.name}: expected an argument among {names}, received {argument}")


def target_of(attack: ForeignAttack, accepted: Collection[str], *, can: bool, must: bool) -> str | None:
    """The class that the attack is to reach, as `targets_of` names it: its argument `target`, or the runner-up.

    Args:
        attack: the attack.
        accepted: the arguments of its class; one that is called `target` too is the library's.
        can: whether it can be told a target.
        must: whether it has one whatever it is told.

    Returns:
        None for an attack that moves away from the images' labels.

    Raises:
        UsageError: there is no such target.
    """
    target = dict(attack.arguments).get("target")
    if "target" in accepted or not (must or (can and target is not None)):
        return None
    return choose({name: name for name in TARGETS}, "runner_up" if target is None else target, f"target of {attack.name}")


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


@contextlib.contextmanager
def _alone(seed: np.ndarray) -> Iterator[None]:
    """The global generators seeded, TensorFlow's warnings of how a library uses it silenced, in one thread at a time."""
    with _drawing:
        of_python, of_numpy = random.getstate(), np.random.get_state()
        logger = tf.get_logger()
        level = logger.level
        logger.setLevel("ERROR")
        keras.utils.set_random_seed(int(np.random.SeedSequence(seed.tolist()).generate_state(1)[0]))
        try:
            yield
        finally:
            logger.setLevel(level)
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def _within(x: np.ndarray, found: np.ndarray, attack: ForeignAttack) -> np.ndarray:
    """The images found, and x where they are not within ε of it and in [0,1]."""
    images = found.reshape(len(x), -1)
    inside = (images >= -ROUNDING).all(1) & (images <= 1 + ROUNDING).all(1)
    inside &= are_within(x, found, attack.epsilon, attack.norm)
    return np.where(inside[:, None, None, None], np.clip(found, 0, 1), x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForeignAttack(Attack):
    """The class `algorithm` of another `library`, made with these `arguments`."""

    kind: ClassVar[str] = "foreign"
    access: ClassVar[str] = "unknown"
    norms: ClassVar[tuple[str, ...]] = tuple(NORMS)
    of_first_records: ClassVar[bool] = True

    library: str
    algorithm: str
    arguments: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), metadata={"omitted": True})

    @property
    def packages(self) -> tuple[str, ...]:
        """The library."""
        return (LIBRARIES[self.library].package,)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`; BN must have its moving averages.

        Raises:
            UserError: the library is not installed.
            UsageError: it has no such attack, the attack no such arguments, or it is not one on a ball of this norm.
        """
        super().check(classes=classes, bn_evaluation=bn_evaluation)
        self._runner(bn_evaluation)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `crafted`."""
        return self.crafted(source, x, y, seed=seed, training=training, state=state).images

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """See `Attack.crafted`; the global generators of Python and NumPy are restored afterwards, TensorFlow's is not.

        Raises:
            UserError: the library is not installed, or the attack fails.
            UsageError: see `check`.
        """
        run = self._runner("batch" if training else "moving")
        x, y = np.asarray(x), np.asarray(y)
        with _alone(as_seed(seed).numpy()):
            try:
                found = np.asarray(run(source, x, y))
            except Exception as error:  # Whatever the library raises.
                raise UserError(f"attack {self.name}: expected adversarial images, found {_reason(error)}") from error
        if found.shape != x.shape:
            raise UserError(f"attack {self.name}: expected images {x.shape}, found {found.shape}")
        return Crafted(tf.convert_to_tensor(_within(x, found, self).astype(x.dtype)), are_changed(x, found))

    def _runner(self, bn_evaluation: str) -> Runner:
        if bn_evaluation != "moving":
            raise UsageError(f"bn_evaluation: expected moving for attack {self.name}, received {bn_evaluation}")
        package = LIBRARIES[self.library].package
        try:
            interface = importlib.import_module(f"adv_networks.attacks.foreign.{self.library}")
        except ImportError as error:
            raise UserError(
                f"attack {self.name}: expected the package {package}, found none: {error} (pip install {package})"
            ) from None
        try:
            return interface.runner(self)
        except UserError:
            raise
        except Exception as error:  # Whatever the library says to its arguments.
            raise UsageError(f"attack {self.name}: expected arguments that it accepts, found {_reason(error)}") from error


def declare(library: str, package: str) -> None:
    """Makes the classes of a library, which a module of that name here runs, attacks of the grammar."""

    def attack(algorithm: str, arguments: Mapping[str, Any], **ball: Any) -> ForeignAttack:
        return ForeignAttack(library=library, algorithm=algorithm, arguments=tuple(sorted(arguments.items())), **ball)

    LIBRARIES[library] = Library(package, attack)


declare("art", "adversarial-robustness-toolbox")
declare("foolbox", "foolbox")
