"""What the tests share: a quiet TensorFlow, double precision, and a classifier that attacks fool on some images."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
# Several tests run at once; whole graphs are also what is fastest to build.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("ADV_NETWORKS_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "data"))

import numpy as np
import pytest

from adv_networks import runtime
from adv_networks.runtime.start import set_environment

IMAGES_UNDER_ATTACK = 2_000
SMALL = ("--scale=tiny", "--steps=3", "--generators=released_mnist", "--width=4", "--validation=0", "--noprogress")
# Where it does not matter which classifier is trained: a perceptron's graphs are built in two thirds of the time.
SMALLEST = (*SMALL, "--classifier=mlp", "--classifier_width=8")


def pytest_addoption(parser):
    parser.addoption("--runtime", choices=runtime.MODES, default="auto", help="the runtime's mode in tests that choose none")


def pytest_configure(config):
    """Chooses TensorFlow's kernels before the tests import it, and imports ART once by itself.

    ART writes a file at its first import, which fails where two test processes do so at once.
    """
    runtime.configure(config.getoption("runtime"))
    set_environment()
    if not hasattr(config, "workerinput") and not (Path.home() / ".art" / "config.json").exists():
        subprocess.run([sys.executable, "-c", "import art"], capture_output=True)


def pytest_collection_finish(session):
    """Hides the imported modules from the garbage collector, which would otherwise search them with every traced graph.

    It also searches the rest less often than by default, because a graph makes objects by the ten thousand.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_runtest_setup(item):
    """Seeds what a test and its fixtures draw, so that the outcome does not depend on which tests ran before it."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="module", autouse=True)
def seeded_tensorflow():
    """Seeds TensorFlow's own random operations, once a file: that drops every compiled kernel, a tenth of a second a test."""
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(0)


class PartlyRobust(NamedTuple):
    """A trained classifier, distinct images in [0,1], their labels, and its accuracy on them under PGD of that ε."""

    model: Any
    x: np.ndarray
    y: np.ndarray
    epsilon: float
    pgd_accuracy: float


@contextlib.contextmanager
def precision(name):
    """Keras's float type, and its dtype policy, which does not follow the float type once it was read."""
    import keras

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def run_eagerly():
    """Inside, rules run operation by operation: for a step or two of a small network that is faster than to build a graph."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def randomised(model, *, seed=2):
    """The model with all weights drawn at random, those included that start at zero or one."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, variable.shape)
        else:
            value = rng.normal(size=variable.shape) / np.sqrt(max(1, np.prod(variable.shape[:-1])))
        variable.assign(value)
    return model


def classifier_of_roots():
    """A classifier of √x², whose gradient at black pixels is not a number; images with such, and the labels it gives them."""
    import keras

    image = keras.Input((4, 4, 1))
    size = keras.ops.sqrt(keras.ops.square(image))
    model = randomised(keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(size))))
    x = 0.3 + 0.4 * np.random.default_rng(0).random((6, 4, 4, 1), np.float32)
    x[:, 0] = 0
    return model, x, np.argmax(model(x), 1)


def written_at(directory: Path) -> dict[Path, int]:
    """When each file below a directory was written, to see that nothing was written again."""
    return {file: file.stat().st_mtime_ns for file in directory.rglob("*") if file.is_file() and file.name != "lock"}


def _call(output, environment, function, *arguments):
    os.environ.update(environment)
    gc.freeze()  # As in `pytest_collection_finish`.
    with Path(output).open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        code = function(*arguments)
    sys.exit(code)


def _main(*arguments):
    import flags
    from adv_networks import __main__ as program

    flags.parse(["main.py", *arguments])
    return program.main()


@pytest.fixture(scope="session")
def fork(tmp_path_factory):
    """Calls a function, which returns an exit code, in a process forked from one that has TensorFlow loaded already."""
    context = multiprocessing.get_context("forkserver")
    pictures = ["matplotlib.figure", "matplotlib.backends.backend_agg"]
    context.set_forkserver_preload(
        [
            "adv_networks.__main__",
            "adv_networks.training",
            "sklearn.datasets",
            "tensorboard.plugins.hparams.api",
            *pictures,
            "tests.conftest",
        ]
    )
    directory = tmp_path_factory.mktemp("output")
    processes = []

    class Forked:
        def __init__(self, function, *arguments, **environment):
            self.output = directory / str(len(processes))
            self.process = context.Process(target=_call, args=(self.output, environment, function, *arguments))
            self.process.start()
            processes.append(self.process)
            self.pid, self.is_alive = self.process.pid, self.process.is_alive

        def wait(self):
            self.process.join()
            return self.process.exitcode

        def said(self):
            return self.output.read_text()

    yield Forked
    for process in processes:
        process.kill()


@pytest.fixture(scope="session")
def start(fork):
    """Starts `main.py` so, with a list of arguments."""
    return lambda arguments, **environment: fork(_main, *arguments, **environment)


@contextlib.contextmanager
def shallow_networks():
    """Networks made inside have one residual block each, where their depth is not the point."""
    from adv_networks.networks import blocks, discriminative, generative

    def last_of_d2(x, _, stride, filters, convolutions):
        """One block of the last of D2's three stages, whose filters are four times those of the stem."""
        return blocks.stage(x, 1, stride, filters, convolutions) if filters == 4 * x.shape[-1] else x

    def one_of_a_generator(x, _, *arguments):
        return blocks.stage(x, 1, *arguments)

    with pytest.MonkeyPatch.context() as patched:
        for module, stage in ((discriminative, last_of_d2), (generative, one_of_a_generator)):
            patched.setattr(module, "stage", stage)
        yield


@pytest.fixture(scope="module")
def shallow():
    """Networks made from here to the end of the module are shallow."""
    with shallow_networks():
        yield


@pytest.fixture
def shallow_here():
    """Networks made in this test are shallow."""
    with shallow_networks():
        yield


@pytest.fixture(params=["auto", "plain"])
def runtime_mode(request):
    """The test runs twice: with all that makes TensorFlow faster, and with Keras and TensorFlow as they come."""
    yield from _configured(request.param)


@pytest.fixture
def auto():
    """Models and optimisers that are made in this test are accelerated, even if the other tests run with a plain runtime."""
    yield from _configured("auto")


@pytest.fixture
def plain():
    """Models and optimisers that are made in this test are as Keras and TensorFlow have them."""
    yield from _configured("plain")


def _configured(mode):
    before = runtime.mode()
    runtime.configure(mode)
    yield mode
    runtime.configure(before)


@pytest.fixture
def float64():
    with precision("float64"):
        yield


@pytest.fixture
def run(capsys, tmp_path):
    """Runs the command line in this process; returns exit code, standard output and standard error.

    Figures are PNG and SVG, because writing the fonts of a PDF takes as long as the rest of a small table. The pictures of
    runs are empty.
    """

    from absl.testing import flagsaver

    import flags
    from adv_networks import __main__ as program
    from tests.training.helpers import undrawn

    def run(*arguments):
        places = () if any(argument.startswith("--runs") for argument in arguments) else (f"--runs={tmp_path}/runs",)
        with flagsaver.flagsaver(), undrawn():
            try:
                flags.parse(["main.py", f"--results={tmp_path}/results", "--figures=svg", *places, *arguments])
                code = program.main()
            except SystemExit as exit:
                code = exit.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def mounted(tmp_path):
    """Mounts by the arguments of `mount` and returns the directory; where that is not permitted the test is skipped."""
    places = []

    def mount(*arguments, remount=None):
        place = tmp_path / f"mounted{len(places)}"
        place.mkdir()
        done = subprocess.run(["mount", *map(str, arguments), place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        places.append(place)
        if remount:
            subprocess.run(["mount", "-o", f"remount,{remount}", place], check=True)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="session")
def partly_robust() -> PartlyRobust:
    """D1 after 150 steps of training on FGS's images of the digits: at this ε PGD leaves it between 20 and 80% accuracy."""
    from adv_networks import attacks, data

    train, test = data.load("digits", "train"), data.load("digits", "test")
    # Whoever asks first may be within a test in double precision.
    with precision("float32"):
        model = _trained_on_fgs(train, epsilon=0.1, steps=150)
    images, y = (np.concatenate(parts) for parts in zip(test, train, strict=True))
    images, y = _with_shifted_copies(images, y)
    x, epsilon = images / np.float32(255), 0.15
    adversarial = attacks.pgd(model, x, y, epsilon)
    accuracy = float(np.mean(np.argmax(attacks.predict(model, adversarial), 1) == y))
    assert 0.2 < accuracy < 0.8, f"expected a partly robust model, found {accuracy:.1%} under PGD"
    return PartlyRobust(model, x, y, epsilon, accuracy)


def _trained_on_fgs(train, *, epsilon: float, steps: int) -> Any:
    """D1, trained by a loop of its own: to trace the project's PGD training takes several times as long."""
    import keras
    import tensorflow as tf

    from adv_networks import data, networks

    model = networks.d1((8, 8, 1), 10, 16)
    for number, kernel in enumerate(weight for weight in model.trainable_variables if len(weight.shape) > 1):
        kernel.assign(keras.initializers.GlorotUniform(seed=number)(kernel.shape))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(x, y):
        def loss(images):
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(images)))

        with tf.GradientTape() as tape:
            tape.watch(x)
            clean = loss(x)
        adversarial = tf.clip_by_value(x + epsilon * tf.sign(tape.gradient(clean, x)), 0, 1)
        with tf.GradientTape() as tape:
            under_attack = loss(adversarial)
        optimizer.apply(tape.gradient(under_attack, model.trainable_variables), model.trainable_variables)

    for _, (x, y) in zip(range(steps), data.batches(*train, 64, training=True), strict=False):
        step(x, y)
    return model


def _with_shifted_copies(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct images, and the first of them again rolled by one pixel, until there are enough."""
    images, chosen = np.unique(images, axis=0, return_index=True)
    labels = labels[chosen]
    missing = IMAGES_UNDER_ATTACK - len(images)
    images = np.concatenate([images, np.roll(images[:missing], 1, axis=1)])
    labels = np.concatenate([labels, labels[:missing]])
    assert len(np.unique(images, axis=0)) == len(images) == IMAGES_UNDER_ATTACK
    return images, labels
