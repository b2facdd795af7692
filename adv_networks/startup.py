"""Starts TensorFlow without its start-up messages, which no environment variable silences."""

from __future__ import annotations

import os
import sys
import tempfile


def start_tensorflow(*, quiet: bool = True) -> None:
    """Imports TensorFlow and lists its devices; if `quiet`, what it writes meanwhile is shown only if that fails."""
    if not quiet:
        import tensorflow as tf

        tf.config.list_physical_devices()
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            messages.seek(0)
            os.write(kept, messages.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
