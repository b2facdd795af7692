"""A run of more steps goes on from a finished one of fewer, where these are its first steps; else it says why not."""

import json

import pytest
import tensorflow as tf

from adv_networks import training
from adv_networks.errors import UserError
from adv_networks.experiments import METHODS, experiment
from tests.training.helpers import changed, metrics, tiny, train


def state(workdir):
    """All that the last checkpoint holds, and the hashes of what is saved."""
    saved = tf.train.load_checkpoint(tf.train.latest_checkpoint(workdir / "checkpoints"))
    names = [name for name in saved.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    hashes = training.describe(workdir)["hashes"]
    return {name: saved.get_tensor(name).tobytes() for name in names}, {name: own["weights"] for name, own in hashes.items()}


def provenance(workdir):
    return json.loads((workdir / "experiment.json").read_text())["provenance"]


def steps_of(spec, workdir):
    """Trains a run, and returns the numbers of the steps that were done for it."""
    done = []
    with changed(spec.method, before=lambda players, x, y, spec, seed: done.append(seed[1] + 1)):
        train(spec, workdir)
    return done


@pytest.mark.slow
def test_run_of_more_steps_goes_on_from_the_one_beside_it_and_ends_with_the_same_bits(tmp_path, capfd):
    short, long = tiny("standard", steps=3), tiny("standard", steps=6)
    whole = train(long, tmp_path / "apart" / long.name)
    shorter, longer = tmp_path / "runs" / short.name, tmp_path / "runs" / long.name
    shortest = tiny("standard", steps=2)
    train(shortest, tmp_path / "runs" / shortest.name)
    assert steps_of(short, shorter) == [3]
    before = {file: file.read_bytes() for file in shorter.rglob("*") if file.is_file()}
    capfd.readouterr()
    assert steps_of(long, longer) == [4, 5, 6]
    assert f"{long.name}: continuing from step 3 of {shorter}\n" in capfd.readouterr().err
    assert state(longer) == state(whole)
    assert [line["step"] for line in metrics(longer)] == ["1", "2", "3", "4", "5", "6"]
    assert provenance(longer)["continued_from"] == f"{shortest.name} at step 2; {short.name} at step 3"
    assert {file: file.read_bytes() for file in shorter.rglob("*") if file.is_file()} == before
    (longer / "perturbations.png").unlink()
    train(long, longer)
    assert provenance(longer)["continued_from"] == f"{shortest.name} at step 2; {short.name} at step 3"


@pytest.mark.slow
def test_raised_steps_go_on_in_the_same_directory(tmp_path, capfd):
    short, long = tiny("standard", steps=3), tiny("standard", steps=6)
    whole, workdir = train(long, tmp_path / "apart" / "run"), train(short, tmp_path / "run")
    assert not training.is_finished(long, workdir)
    capfd.readouterr()
    assert steps_of(long, workdir) == [4, 5, 6]
    assert f"{long.name}: continuing from step 3 of {workdir}\n" in capfd.readouterr().err
    assert state(workdir) == state(whole)
    assert provenance(workdir)["continued_from"] == "run at step 3"
    with pytest.raises(UserError, match="expected a run with steps = 3, found 6 "):
        train(short, workdir)


def test_schedule_that_was_another_so_far_is_said_and_nothing_is_taken(tmp_path, capfd):
    short, long = (tiny("standard", steps=steps, learning_rate_drops=(0.5,)) for steps in (4, 8))
    shorter, longer = train(short, tmp_path / short.name), tmp_path / long.name
    capfd.readouterr()
    assert steps_of(long, longer) == [1, 2, 3, 4, 5, 6, 7, 8]
    why = "the learning rate drops after updates 2 of D in one, after none of them in the other"
    assert f"{long.name}: not continuing from {shorter}, because {why}\n" in capfd.readouterr().err
    assert "continued_from" not in provenance(longer)
    message = rf"expected a run with steps = 8, found 4, from which it cannot continue, because {why} \(--workdir"
    with pytest.raises(UserError, match=message):
        train(long, shorter)


@pytest.mark.slow
def test_run_upon_another_classifier_is_not_gone_on_from(tmp_path, capfd):
    short, long = (tiny("generator", steps=steps) for steps in (2, 3))
    for spec in (short, long):
        train(spec, tmp_path / spec.name)
    said = capfd.readouterr().err
    classifiers = [spec.needs()["classifier"].name for spec in (short, long)]
    assert f"{classifiers[1]}: continuing from step 2 of {tmp_path / classifiers[0]}\n" in said
    assert f"{long.name}: not continuing from {tmp_path / short.name}, because its classifier_weights is " in said
    assert "continued_from" not in provenance(tmp_path / long.name)


@pytest.mark.slow
def test_run_of_other_settings_or_in_a_directory_of_another_name_is_no_beginning(tmp_path, capfd):
    for other in (dict(seed=1), dict(learning_rate=0.1)):
        spec = tiny("standard", steps=2, **other)
        train(spec, tmp_path / spec.name)
    train(tiny("standard", steps=2), tmp_path / "a name of its own")
    capfd.readouterr()
    assert steps_of(tiny("standard", steps=3), tmp_path / "run") == [1, 2, 3]
    assert "continuing" not in capfd.readouterr().err


def differs(short, long, steps, **settings):
    specs = (experiment("cifar10", settings.pop("method", "standard"), steps=number, **settings) for number in (short, long))
    spec, longer = specs
    return bool(METHODS[spec.method].first_difference(spec, longer, steps))


def test_first_steps_are_the_same_until_a_rate_drops():
    # After half of 1,000 steps the rate drops for update 500, counted from 0: step 501 is the first at the lower one.
    drops = dict(learning_rate_drops=(0.5,))
    assert [differs(1000, 2000, steps, **drops) for steps in (500, 501, 1000)] == [False, True, True]
    assert not differs(1000, 2000, 1000, learning_rate_drops=())
    assert not differs(1000, 2000, 1000, learning_rate_drops=(1.0,))
    # D is updated at every fifth step: half of 1,000 are 100 updates, and step 505 makes the first at the lower rate.
    game = dict(method="advnet", discriminator_period=5, **drops)
    assert [differs(1000, 2000, steps, **game) for steps in (504, 505)] == [False, True]
    # It moves no classifier.
    assert not differs(1000, 2000, 1000, method="generator", **drops)
