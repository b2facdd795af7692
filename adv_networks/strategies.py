"""Which devices a run uses: one, or several that share each minibatch."""

from __future__ import annotations

import tensorflow as tf

from adv_networks.errors import UsageError
from adv_networks.experiments import STRATEGIES, choose


def make(name: str = "auto", replicas: int = 0) -> tf.distribute.Strategy:
    """The strategy to create a run's variables in.

    Args:
        name: a key of `experiments.STRATEGIES`.
        replicas: where above 0, mirrored over so many logical CPU devices instead, to try the arithmetic out without GPUs.

    Raises:
        UsageError: an unknown name, "mirrored" without a GPU, `replicas` with "one", or more of them than TensorFlow was
            started with.
    """
    choose(STRATEGIES, name, "strategy")
    gpus = tf.config.list_physical_devices("GPU")
    if replicas:
        if name == "one":
            raise UsageError(f"replicas: expected none with strategy one, received {replicas}")
        return tf.distribute.MirroredStrategy(_logical_cpus(replicas))
    if name == "mirrored" and not gpus:
        raise UsageError("strategy mirrored: expected a GPU, found none (--replicas tries it out on logical CPU devices)")
    return tf.distribute.get_strategy() if name == "one" or len(gpus) < 2 else tf.distribute.MirroredStrategy()


def _logical_cpus(count: int) -> list[str]:
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:  # TensorFlow has started.
        found = len(tf.config.list_logical_devices("CPU"))
        if found < count:
            raise UsageError(f"replicas: expected at most {found}, as TensorFlow was started, received {count}") from None
    return [f"CPU:{number}" for number in range(count)]
