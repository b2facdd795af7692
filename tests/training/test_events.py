"""What readers of event files see of a run that was killed and did some of its steps again."""

import collections

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from adv_networks.training.events import tag
from adv_networks.training.logs import METRICS
from tests.training.helpers import crashed, metrics, stopped, tiny, train


def steps_by_tag(workdir):
    """The steps that the files themselves hold, by the name of what was written."""
    found = collections.defaultdict(list)
    for file in sorted(workdir.glob("*tfevents*")):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found[value.tag].append(event.step)
    return found


def shown_steps(workdir, tag):
    """The steps that TensorBoard shows."""
    accumulator = EventAccumulator(str(workdir), size_guidance={TENSORS: 0})
    accumulator.Reload()
    return [event.step for event in accumulator.Tensors(tag)]


@pytest.mark.parametrize("saved", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_steps_that_are_done_again_are_there_once(saved, tmp_path):
    spec = tiny("standard", steps=8)
    if saved:
        stopped(spec, tmp_path, saved)
    crashed(spec, tmp_path, 7)
    assert steps_by_tag(tmp_path)["loss/d_loss"] == [1, 2, 3, 4, 5, 6]
    train(spec, tmp_path)
    logged = [int(line["step"]) for line in metrics(tmp_path)]
    assert logged == [1, 2, 3, 4, 5, 6, 7, 8]
    assert steps_by_tag(tmp_path)["loss/d_loss"] == shown_steps(tmp_path, "loss/d_loss") == logged
    assert steps_by_tag(tmp_path)["_hparams_/session_start_info"] == [0]


def test_file_that_a_kill_cut_short_keeps_its_whole_events(tmp_path):
    spec = tiny("standard", steps=8)
    stopped(spec, tmp_path, 4)
    (file,) = tmp_path.glob("*tfevents*")
    file.write_bytes(file.read_bytes()[:-20])
    train(spec, tmp_path)
    assert shown_steps(tmp_path, "loss/d_loss") == [1, 2, 3, 4, 5, 6, 7, 8]


def test_run_that_began_with_a_directory_of_events_goes_on_with_it(tmp_path):
    (tmp_path / "events").mkdir()
    train(tiny("standard", steps=2), tmp_path)
    assert list((tmp_path / "events").glob("*tfevents*")) and not list(tmp_path.glob("*tfevents*"))


def test_every_number_of_a_run_has_a_group():
    groups = {tag(name).partition("/")[0] for name in (*METRICS, "steps_per_second", "g_loss_5") if name != "step"}
    assert groups == {"loss", "accuracy", "gradient", "regulariser", "rate", "validation", "speed"}
