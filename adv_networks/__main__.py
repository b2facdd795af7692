"""The program: `adv-networks` and `python -m adv_networks`, and `python main.py` in a checkout."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator

import flags
from adv_networks import runtime
from adv_networks.errors import Interrupted, UsageError, UserError
from adv_networks.runtime.start import start_tensorflow
from adv_networks.storage import pictures

_LOGGER = logging.getLogger("adv_networks")


def run() -> None:
    """Parses the command line, runs its command, and ends the process with the exit code."""
    _write_anything()
    try:
        flags.parse(sys.argv)
    except BrokenPipeError:
        sys.exit(_pipe_is_closed())
    sys.exit(main())


def main() -> int:
    """Runs the command that the parsed flags ask for, prints what it yields, and returns the exit code."""
    process = flags.process()
    with _told(shown=process.progress, program=process.program), pictures.written_as(process.figures):
        return _run(process)


def _run(process: flags.Process) -> int:
    """Runs the command. An error that the user can fix is printed as one line."""

    def failed(text: object, code: int) -> int:
        print(f"{process.program}: {text}", file=sys.stderr)
        return code

    try:
        command = flags.command()
        command.check()
        if command.needs_tensorflow:
            _LOGGER.info("starting TensorFlow")
            runtime.configure(process.runtime)
            # Runs of scale tiny are too short to win back the time that building shared graphs takes.
            start_tensorflow(quiet=not process.talkative, sharing=process.scale != "tiny")
        for number, text in enumerate(filter(None, command.run())):
            print("\n" * (number > 0) + text, flush=True)
    except UserError as error:
        return failed(error, 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        return _pipe_is_closed()
    except OSError as error:
        return failed(f"{error.filename or 'a file'}: expected a file that can be used, found: {error.strerror or error}", 1)
    except Interrupted as interruption:
        return failed(interruption, 128 + interruption.signal_number)
    except KeyboardInterrupt:
        return failed("interrupted; the same command resumes from what is saved", 128 + signal.SIGINT)
    except Exception as error:
        # TensorFlow's error class is compared by name, because TensorFlow may not be loaded.
        if type(error).__name__ != "ResourceExhaustedError" and not isinstance(error, MemoryError):
            raise
        return failed("expected enough memory, ran out of it (a smaller --batch_size or width needs less)", 1)
    return 0


def _pipe_is_closed() -> int:
    """Handles a reader that closed the output, as `| head -1` does: flushing at exit must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


@contextlib.contextmanager
def _told(*, shown: bool, program: str) -> Iterator[None]:
    """Inside, the library's warnings go to standard error; on a terminal, its progress messages do too."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO if shown and sys.stderr.isatty() else logging.WARNING)
    _LOGGER.propagate = False
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(logging.NOTSET)
        _LOGGER.propagate = True


def _write_anything() -> None:
    """Makes output escape characters that its encoding lacks, such as ε in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    run()
