"""Reproduces "A Direct Approach to Robust Deep Learning Using Adversarial Networks" (ICLR 2019).

    python main.py                                  the embedded digits: train the adversarial network, evaluate it
    python main.py --dataset=mnist --method=pgd     train (or resume) and evaluate one experiment
    python main.py --dataset=FOLDER --epsilon=0.05  the same on one's own images: class folders of PNG or JPEG, or an .npz
    python main.py --table=1 --scale=cpu            a table of the paper: what is missing, then results/cpu/table1.csv
    python main.py --table=1 --seeds=0,1,2          the same over several seeds: mean, least and most
    python main.py --table=1 --epsilons=0.1,0.2     its networks under attacks of other sizes: CSV and curves
    python main.py --table=1 --by_class             accuracy of each class, clean and under white-box attacks: CSV and heat maps
    python main.py --table=1 --attack_suite=strong  the same rows under AutoAttack and more: results/cpu/table1-strong.csv
    python main.py --table=all --plan               the runs that takes, one command a line
    python main.py --report                         what is in results/cpu as one page, report.html, and pictures
    python main.py --verify --data_dir=DIR          do the committed weights give their white-box cells in the committed tables?
    python main.py --list                           data sets, methods, tables, and how far the runs are
    python main.py --model=mine.keras --input_range=0,1 --dataset=mnist
                                                    the white-box attacks on any Keras classifier (or --model=module:function)
    python main.py --model=mine.keras --input_range=0,1 --dataset=mnist --method=generator
                                                    the same, and a generator trained against it

--verbosity=0 shows what TensorFlow and its data sets say meanwhile.
Exit codes: 0 done; 1 something needed is missing, damaged or of another kind; 2 wrong usage; 129, 130 or 143 stopped by a
signal.
"""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import sys

# Said before the imports, which would fail with a traceback.
if missing := [name for name in ("absl", "numpy", "keras", "tensorflow") if importlib.util.find_spec(name) is None]:
    sys.exit(f"main.py: expected an environment with {', '.join(missing)}, found none: `make demo` makes one, in .venv")

from absl import app, logging
from absl import flags as absl_flags

import flags.commands
from adv_networks import runtime
from adv_networks.errors import Interrupted, UsageError, UserError
from adv_networks.runtime.start import start_tensorflow

absl_flags.adopt_module_key_flags(flags.definitions)


def main(_: list[str]) -> int:
    """Runs the command that the flags say; returns the exit code."""
    # absl's own default for a program is to say more.
    verbosity = absl_flags.FLAGS["verbosity"]
    logging.set_verbosity(verbosity.value if verbosity.present else logging.WARNING)
    _write_anything()
    try:
        command = flags.commands.command()
        command.check()
        if command.needs_tensorflow:
            runtime.configure(absl_flags.FLAGS.runtime)
            # Runs of scale tiny end before what the larger graphs gain has paid for building them.
            start_tensorflow(quiet=logging.get_verbosity() <= logging.WARNING, sharing=absl_flags.FLAGS.scale != "tiny")
        for number, text in enumerate(filter(None, command.run())):
            print("\n" * (number > 0) + text, flush=True)
    except UserError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:
        # Whoever read the output has closed it, as `| head -1` does; what Python writes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(f"main.py: {error.filename or 'a file'}: expected to use it, found: {error.strerror or error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        print(f"main.py: {interruption}", file=sys.stderr)
        return 128 + interruption.signal_number
    except KeyboardInterrupt:
        print("main.py: interrupted; the same command goes on from what is saved", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        # TensorFlow's own error cannot be named here, where it may not be loaded.
        if type(error).__name__ != "ResourceExhaustedError" and not isinstance(error, MemoryError):
            raise
        print("main.py: expected enough memory, ran out of it (a smaller --batch_size or width takes less)", file=sys.stderr)
        return 1
    return 0


def _write_anything() -> None:
    """Lets output in an encoding that lacks a character, ε in ASCII for instance, have it escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse)
