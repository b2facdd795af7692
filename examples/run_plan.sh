#!/usr/bin/env bash
# Runs what a plan lists, so many runs at a time, each on a GPU of its own where there are GPUs:
#
#     python main.py --table=all --scale=paper --plan | examples/run_plan.sh 4
#
# The same line may run on any number of machines that share the run directory. Whoever locks a run first trains it; the others
# say that it is taken and go on to the next. Exit code 123 where any command did not end well, that included: once all machines
# are done, the same line again finishes what was stopped, and ends with 0 if there was nothing.
exec xargs -d '\n' -P "${1:?expected the number of runs at a time}" --process-slot-var=CUDA_VISIBLE_DEVICES -I{} bash -c '{}'
