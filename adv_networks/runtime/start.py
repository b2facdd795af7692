"""Starts TensorFlow without its start-up messages, which no environment variable silences, and with threads for `cores`."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile


def start_tensorflow(*, quiet: bool = True, sharing: bool = True) -> None:
    """Imports TensorFlow and lists its devices; if `quiet`, what it writes meanwhile is shown only if that fails.

    On two cores without a GPU, if they are `sharing` batches, operations then have one thread each and two run at once, unless
    the environment has numbers of threads or TensorFlow has started before.
    """
    if not quiet:
        _start(sharing)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            _start(sharing)
        except BaseException:
            messages.seek(0)
            os.write(kept, messages.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _start(sharing: bool) -> None:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    given = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} & os.environ.keys()
    # With more cores the graphs would grow with them, and what that gains has not been measured.
    if gpus or given or not sharing or _cores() != 2:
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow keeps the threads that it has.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(2)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
