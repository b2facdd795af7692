"""Reproduces "A Direct Approach to Robust Deep Learning Using Adversarial Networks" (ICLR 2019).

    python main.py                                  the embedded digits: train the adversarial network, evaluate it
    python main.py --dataset=mnist --method=pgd     train (or resume) and evaluate one experiment
    python main.py --table=1 --scale=cpu            a table of the paper: what is missing, then results/cpu/table1.csv
    python main.py --table=1 --attack_suite=strong  the same rows under AutoAttack and more: results/cpu/table1-strong.csv
    python main.py --table=all --plan               the runs that takes, one command a line
    python main.py --model=mine.keras --input_range=0,1 --dataset=mnist
                                                    the white-box attacks on any Keras classifier

Exit codes: 0 done; 1 something needed is missing, damaged or of another kind; 2 wrong usage; 130 or 143 stopped by a signal.
"""

from __future__ import annotations

import signal
import sys

from absl import app, logging
from absl import flags as absl_flags

import flags
from adv_networks.errors import Interrupted, UsageError, UserError
from adv_networks.startup import start_tensorflow

absl_flags.adopt_module_key_flags(flags)


def main(_: list[str]) -> int:
    """Runs what the flags say; returns the exit code."""
    logging.set_verbosity(logging.WARNING)
    try:
        start_tensorflow()
        from adv_networks import workflow

        text = workflow.run(**flags.chosen())
        if text:
            print(text)
    except UserError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except Interrupted as interruption:
        print(f"main.py: {interruption}", file=sys.stderr)
        return 128 + interruption.signal_number
    except KeyboardInterrupt:
        print("main.py: interrupted; the same command goes on from what is saved", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse)
