"""Chooses the devices of a run: one, or several that share each minibatch."""

from __future__ import annotations

import json
import os

from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import STRATEGIES, choose
from adv_networks.lazy import tf
from adv_networks.storage.files import reason


def make(name: str = "auto", replicas: int = 0) -> tf.distribute.Strategy:
    """The strategy to create a run's variables in.

    Args:
        name: a key of `experiments.STRATEGIES`.
        replicas: if above 0, mirror over this many logical CPU devices instead, to try the arithmetic without GPUs.

    Raises:
        UsageError: an unknown name, "mirrored" without a GPU, "multi_worker" without a TF_CONFIG that names the workers,
            `replicas` with "one" or "multi_worker", or more of them than TensorFlow was started with.
        UserError: the workers of "multi_worker" do not find one another.
    """
    choose(STRATEGIES, name, "strategy")
    gpus = tf.config.list_physical_devices("GPU")
    if replicas:
        if name in ("one", "multi_worker"):
            raise UsageError(f"replicas: expected none with strategy {name}, received {replicas}")
        return tf.distribute.MirroredStrategy(_logical_cpus(replicas))
    if name == "multi_worker":
        return _multi_worker()
    if name == "mirrored" and not gpus:
        raise UsageError("strategy mirrored: expected a GPU, found none (--replicas tries it on logical CPU devices)")
    return tf.distribute.get_strategy() if name == "one" or len(gpus) < 2 else tf.distribute.MirroredStrategy()


def local(strategy: tf.distribute.Strategy) -> tf.distribute.Strategy:
    """The part of a strategy that this process can use without other workers."""
    return make() if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else strategy


def _multi_worker() -> tf.distribute.Strategy:
    """Waits for all workers that TF_CONFIG names."""
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, task = config["cluster"], config["task"]
        if not workers or workers.keys() - {"chief", "worker"}:
            raise ValueError(f"jobs {', '.join(workers)}")
        if not 0 <= int(task["index"]) < len(workers[task["type"]]):
            raise ValueError(f"task {task['index']} of {len(workers[task['type']])}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = "none" if "TF_CONFIG" not in os.environ else f"{type(error).__name__} {error}"
        raise UsageError(
            'strategy multi_worker: expected TF_CONFIG={"cluster": {"worker": ["host:port", …]}, '
            f'"task": {{"type": "worker", "index": …}}}} in the environment, found {found}'
        ) from None
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UserError(f"strategy multi_worker: expected all of its workers to start, found: {reason(error)}") from None


def _logical_cpus(count: int) -> list[str]:
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:  # TensorFlow has started.
        found = len(tf.config.list_logical_devices("CPU"))
        if found < count:
            raise UsageError(f"replicas: expected at most {found}, because TensorFlow has started, received {count}") from None
    return [f"CPU:{number}" for number in range(count)]
