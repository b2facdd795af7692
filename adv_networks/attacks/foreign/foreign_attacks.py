"""Attacks of other libraries on our classifiers. None of the libraries is loaded before one of its attacks is asked for.

The library's result counts only within the declared ball: an image that it moves farther, or out of [0,1], is taken as it was
before. So a minimal-norm attack fools a classifier where its smallest perturbation is at most ε.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from adv_networks import attacks
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import LIBRARIES, NORMS, Attack

Runner = Callable[[keras.Model, np.ndarray, np.ndarray], np.ndarray]

# By how much rounding may move a pixel.
_ROUNDING = 1e-6
# The libraries draw from global generators, which the threads of several devices share.
_drawing = threading.Lock()


def check(attack: Attack, bn_evaluation: str) -> None:
    """Raises what `craft` would raise, where the attack's library, class or arguments are not there."""
    _runner(attack, training=bn_evaluation == "batch")


def craft(attack: Attack, model: keras.Model, x: np.ndarray, y: np.ndarray, *, seed, training: bool = False) -> tf.Tensor:
    """Adversarial images of a batch by an attack of kind "foreign", in the ball of its ε and in [0,1] up to rounding.

    Args:
        attack: names library, class and arguments, the ball and its norm.
        model: classifier that returns logits.
        x: floats in [0,1], [batch, height, width, channels].
        y: labels [batch].
        seed: of the global generators of Python, NumPy and TensorFlow, all but TensorFlow's restored afterwards.
        training: only False is possible: BN with its moving averages.

    Raises:
        UserError: the library is not installed, or the attack fails.
        UsageError: it has no such attack, the attack no such arguments, or it is not one on a ball of this norm.
    """
    run = _runner(attack, training=training)
    x, y = np.asarray(x), np.asarray(y)
    with _alone(attacks.as_seed(seed).numpy()):
        try:
            found = np.asarray(run(model, x, y))
        except Exception as error:  # Whatever the library raises.
            raise UserError(f"attack {attack.name}: expected adversarial images, found {_reason(error)}") from error
    if found.shape != x.shape:
        raise UserError(f"attack {attack.name}: expected images {x.shape}, found {found.shape}")
    return tf.convert_to_tensor(_within(x, found, attack).astype(x.dtype))


def _runner(attack: Attack, *, training: bool) -> Runner:
    if training:
        raise UsageError(f"bn_evaluation: expected moving for attack {attack.name}, received batch")
    try:
        interface = importlib.import_module(f"adv_networks.attacks.foreign.{attack.library}")
    except ImportError as error:
        package = LIBRARIES[attack.library]
        raise UserError(
            f"attack {attack.name}: expected the package {package}, found none: {error} (pip install {package})"
        ) from None
    try:
        return interface.runner(attack)
    except UserError:
        raise
    except Exception as error:  # Whatever the library says to its arguments.
        raise UsageError(f"attack {attack.name}: expected arguments that it accepts, found {_reason(error)}") from error


def find(attack: Attack, kinds: Mapping[str, type]) -> type:
    """The class that the attack names among those of its library, or a UsageError that says which are like it."""
    if attack.algorithm in kinds:
        return kinds[attack.algorithm]
    like = difflib.get_close_matches(attack.algorithm, kinds, cutoff=0.4) or sorted(kinds)
    raise UsageError(
        f"attack: expected one of the {len(kinds)} of {attack.library}, {', '.join(like[:3])} for instance, "
        f"received {attack.algorithm}"
    )


def check_arguments(attack: Attack, accepted: Iterable[str]) -> None:
    """Raises a UsageError where the attack has an argument that is not accepted; epsilon and norm, the ball's, always are."""
    accepted = {*accepted}
    for argument, _ in attack.arguments:
        if argument not in accepted:
            names = ", ".join(sorted({*accepted, "epsilon", "norm"}))
            raise UsageError(f"attack {attack.name}: expected arguments among {names}, received {argument}")


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


def _within(x: np.ndarray, found: np.ndarray, attack: Attack) -> np.ndarray:
    """The images found, and x where they are not within ε of it and in [0,1]."""
    images, p = found.reshape(len(x), -1).astype(np.float64), NORMS[attack.norm]
    size = np.linalg.norm(images - x.reshape(images.shape), p, axis=1)
    inside = (images >= -_ROUNDING).all(1) & (images <= 1 + _ROUNDING).all(1)
    inside &= size <= attack.epsilon + _ROUNDING * images.shape[1] ** (1 / p)
    return np.where(inside[:, None, None, None], np.clip(found, 0, 1), x)
