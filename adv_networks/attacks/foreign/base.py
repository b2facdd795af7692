"""An attack of another library as one of ours. A library is loaded only when one of its attacks is used.

The library's result counts only inside the declared ball: an image that it moves farther, or out of [0,1], is replaced by the
original. So a minimum-norm attack succeeds on an image if its smallest perturbation is at most ε.
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

from adv_networks.attacks.base import Attack, Crafted, are_changed
from adv_networks.attacks.distances import are_within
from adv_networks.attacks.inputs import ROUNDING
from adv_networks.attacks.quantities import as_seed
from adv_networks.attacks.targets import TARGETS
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import LIBRARIES, NORMS, Library, choose
from adv_networks.lazy import keras, np, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# From (model, images, labels) to adversarial images.
Runner = Callable[..., "np.ndarray"]

# The libraries draw from global random generators, which the threads of several devices share.
_drawing = threading.Lock()


def find(attack: ForeignAttack, kinds: Mapping[str, type]) -> type:
    """The class of the library that the attack names. Raises a UsageError that suggests similar names if there is none."""
    if attack.algorithm in kinds:
        return kinds[attack.algorithm]
    like = difflib.get_close_matches(attack.algorithm, kinds, cutoff=0.4) or sorted(kinds)
    raise UsageError(
        f"attack: expected one of the {len(kinds)} of {attack.library}, for instance {', '.join(like[:3])}, "
        f"received {attack.algorithm}"
    )


def check_arguments(attack: ForeignAttack, accepted: Iterable[str]) -> None:
    """Raises a UsageError if the attack has an argument that is not accepted; epsilon and norm, of the ball, always are."""
    accepted = {*accepted}
    for argument, _ in attack.arguments:
        if argument not in accepted:
            names = ", ".join(sorted({*accepted, "epsilon", "norm"}))
            raise UsageError(f"attack {attack.name}: expected an argument among {names}, received {argument}")


def target_of(attack: ForeignAttack, accepted: Collection[str], *, can: bool, must: bool) -> str | None:
    """The name of the target for `targets_of`: the attack's argument `target`, or the runner-up.

    Args:
        attack: the attack.
        accepted: the arguments of its class. If one of them is called `target`, then `target` is the library's.
        can: whether the attack can be targeted.
        must: whether it is always targeted.

    Returns:
        None for an untargeted attack.

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
    """Seeds the global random generators and silences TensorFlow's warnings about a library; one thread at a time."""
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
    """The images found, each replaced by its original in x unless it is within ε of it and in [0,1]."""
    images = found.reshape(len(x), -1)
    inside = (images >= -ROUNDING).all(1) & (images <= 1 + ROUNDING).all(1)
    inside &= are_within(x, found, attack.epsilon, attack.norm)
    return np.where(inside[:, None, None, None], np.clip(found, 0, 1), x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForeignAttack(Attack):
    """The class `algorithm` of another `library`, made with these `arguments`.

    Examples:
        >>> from adv_networks import attacks
        >>> attack = attacks.named("foolbox:LinfPGD:steps=20", 0.3)
        >>> attack.library, attack.algorithm, attack.arguments
        ('foolbox', 'LinfPGD', (('steps', 20),))
    """

    kind: ClassVar[str] = "foreign"
    access: ClassVar[str] = "unknown"
    norms: ClassVar[tuple[str, ...]] = tuple(NORMS)
    of_first_records: ClassVar[bool] = True

    library: str
    algorithm: str
    arguments: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), metadata={"omitted": True})

    @property
    def packages(self) -> tuple[str, ...]:
        """The package of the library."""
        return (LIBRARIES[self.library].package,)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`; BN must use its moving averages.

        Raises:
            UserError: the library is not installed.
            UsageError: no such attack, an argument that it does not take, or a norm that it does not support.
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
        """See `Attack.crafted`. Afterwards the global generators of Python and NumPy are restored, but not TensorFlow's.

        Raises:
            UserError: the library is not installed, or the attack fails.
            UsageError: see `check`.
        """
        run = self._runner("batch" if training else "moving")
        x, y = np.asarray(x), np.asarray(y)
        with _alone(as_seed(seed).numpy()):
            try:
                found = np.asarray(run(source, x, y))
            except Exception as error:  # The library may raise anything.
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
        except Exception as error:  # The library may raise anything about its arguments.
            raise UsageError(f"attack {self.name}: expected arguments that it accepts, found {_reason(error)}") from error


def declare(library: str, package: str) -> None:
    """Adds the classes of a library to the attack grammar; the module of that name in this package runs them."""

    def attack(algorithm: str, arguments: Mapping[str, Any], **ball: Any) -> ForeignAttack:
        return ForeignAttack(library=library, algorithm=algorithm, arguments=tuple(sorted(arguments.items())), **ball)

    LIBRARIES[library] = Library(package, attack)


declare("art", "adversarial-robustness-toolbox")
declare("foolbox", "foolbox")
