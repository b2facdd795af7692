#!/bin/bash
# Runs the lines of a plan as a Slurm job array, one run and one GPU a job:
#
#     python main.py --table=all --scale=paper --plan | grep -v -e '^#' -e '  # done$' > plan.txt
#     sbatch --array=1-$(wc -l < plan.txt) examples/slurm_array.sh plan.txt
#
# Two minutes before its time is over a run saves a checkpoint, and the job is queued again to go on from there.
# SLURM_ARRAY_TASK_ID=3 bash examples/slurm_array.sh plan.txt dry prints what the third job would run.
#SBATCH --job-name=adv_networks
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

plan=${1:?expected a file of commands, one a line}
command=$(sed -n "${SLURM_ARRAY_TASK_ID:?expected a job of an array}p" "$plan")
if [ -z "$command" ]; then
    echo "$plan: expected a line $SLURM_ARRAY_TASK_ID, found none" >&2
    exit 2
fi
if [ "${2:-}" = dry ]; then
    echo "$command"
    exit
fi
stopped=
bash -c "exec $command" &
run=$!
trap 'stopped=1; kill -TERM "$run"' TERM
code=0
wait "$run" || code=$?
if [ -n "$stopped" ]; then # It was the signal that ended the wait, not the run.
    code=0
    wait "$run" || code=$?
fi
if [ "$code" = 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
