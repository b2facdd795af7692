"""The mode of the runtime, and what it does to models."""

import keras
import pytest

from adv_networks import networks, runtime
from adv_networks.errors import UsageError
from adv_networks.runtime import replacements


def replaced(model):
    return {name for part in (model, *model.layers) for name in replacements.names(part)}


def test_another_mode_is_refused():
    with pytest.raises(UsageError, match="runtime: expected one of auto, plain, received fast"):
        runtime.configure("fast")
    assert runtime.mode() == "auto"


def test_models_of_a_plain_runtime_are_keras_own(plain):
    model = runtime.prepare(networks.d1((28, 28, 1), 10), share_graphs=True)
    assert not replaced(model)
    assert runtime.choices().startswith("plain: ")


def test_what_results_depend_on_is_done_in_a_plain_runtime_too(plain, shallow):
    model = runtime.prepare(networks.d2((8, 8, 3), 10), double_backprop=True)
    assert replaced(model) == {"_moments"}


def test_a_model_is_prepared_again_as_if_it_never_had_been(shallow):
    model = networks.d2((8, 8, 3), 10)
    assert "call" in replaced(runtime.prepare(model))
    assert "call" not in replaced(runtime.prepare(model, double_backprop=True))
    assert "_moments" not in replaced(runtime.prepare(model))


def test_methods_that_a_user_replaced_stay():
    model = networks.d1((28, 28, 1), 10)
    own = keras.layers.Conv2D.convolution_op.__get__(model.layers[2])
    model.layers[2].convolution_op = own
    for _ in range(2):
        runtime.prepare(model)
        assert vars(model.layers[2])["convolution_op"] is own
