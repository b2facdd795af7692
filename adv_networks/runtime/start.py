"""Starts TensorFlow with the kernels and threads that are fastest here, without its start-up messages."""

from __future__ import annotations

import gc
import os
import sys
import warnings

from adv_networks.lazy import BEFORE_TENSORFLOW
from adv_networks.runtime import processor, settings

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_is_set = False


def set_environment() -> None:
    """Sets the environment variables that TensorFlow reads when it is imported, unless they are already set.

    `adv_networks.lazy` calls this before it imports TensorFlow. If TensorFlow was imported earlier, a single warning says what
    could not be set.
    """
    global _is_set
    if _is_set:
        return
    _is_set = True
    if settings.is_plain() or ONEDNN in os.environ or not processor.gains_by_onednn(processor.features()):
        return
    if "tensorflow" in sys.modules:
        warnings.warn(
            f"TensorFlow was imported before adv_networks could choose its kernels, and runs without oneDNN's, which are "
            f"faster on this processor: set {ONEDNN}=1 in the environment, or import tensorflow after the first call of "
            "adv_networks",
            stacklevel=3,
        )
        return
    os.environ[ONEDNN] = "1"


def start_tensorflow(*, quiet: bool = True, sharing: bool = True) -> None:
    """Imports TensorFlow and lists its devices.

    Without a GPU, TensorFlow then has the threads that are fastest on this number of cores (`processor.threads`). If the
    environment sets the numbers of threads, they do not change; if TensorFlow has already started, a warning says so.

    Args:
        quiet: whether TensorFlow's messages are shown only if it fails.
        sharing: whether batches will be split among the cores.
    """
    set_environment()
    late = _start(sharing) if not quiet else _start_quietly(sharing)
    if late:
        warnings.warn(late, stacklevel=2)


def _start_quietly(sharing: bool) -> str | None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tempfile  # which takes long to load

    # No environment variable silences TensorFlow's first messages.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            return _start(sharing)
        except BaseException:
            messages.seek(0)
            os.write(kept, messages.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _start(sharing: bool) -> str | None:
    """Starts TensorFlow, and returns what could not be set because it had started before."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if settings.is_plain():
        return None
    # Building a graph makes objects by the ten thousand. Without this, the garbage collector would search TensorFlow's modules
    # again and again, which took a tenth of the time to the first step.
    gc.freeze()
    given = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} & os.environ.keys()
    threads = processor.threads(processor.cores())
    if gpus or given or not sharing or threads is None:
        return None
    within, at_once = threads
    try:
        tf.config.threading.set_intra_op_parallelism_threads(within)
        tf.config.threading.set_inter_op_parallelism_threads(at_once)
    except RuntimeError:
        return (
            "TensorFlow had started before adv_networks could choose its threads, and keeps its own, so that batches are not "
            "shared among the cores: call start_tensorflow before any other use of TensorFlow"
        )
    return None


BEFORE_TENSORFLOW.append(set_environment)
