"""`--model`: attacks your own Keras classifier, alone or also behind a defence, and checks it for false robustness."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from adv_networks import training
from adv_networks.attacks import Attack
from adv_networks.commands.base import limited
from adv_networks.data import Images
from adv_networks.errors import UsageError
from adv_networks.evaluation import Defended, PerImage, check_records, checks, load_model, measure, measures, own_model
from adv_networks.evaluation.defended import Target
from adv_networks.evaluation.exports import Exports
from adv_networks.evaluation.learning import Training, learn, lesson_of
from adv_networks.evaluation.random_classifiers import interval_over_draws, worst_case
from adv_networks.experiments import (
    ADAPTIVE,
    METHODS,
    WHITE_BOX,
    Column,
    Experiment,
    Row,
    Table,
    experiment,
    find_dataset,
    generator_file,
    parse_attack,
)
from adv_networks.lazy import keras, np
from adv_networks.tables.classifier_checks import CHECKED_IMAGES
from adv_networks.tables.notes import ball_of
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateModel:
    """Evaluates a Keras classifier from elsewhere on clean images and under FGS, PGD and the attacks of the suite.

    Attributes:
        model: the classifier itself, its `.keras` file, a run's directory, or `module:function`, which returns it.
        dataset: name of the data set whose test images are used.
        input_range: the classifier's pixel range: its inputs for black and white.
        workspace: the directories of the data and the runs.
        method: "generator" to train generators against the classifier and attack it with them; None for neither.
        seed: seed of that run.
        scale: scale of that run.
        protocol: protocol of that run, and of the other attacks.
        overrides: settings by name: epsilon, norm, pgd_steps, test_images, bn_evaluation and so on.
        attack_suite: key of `experiments.SUITES`; columns that need one of our runs, such as generators, are left out.
        attacks: further attacks, as texts for `experiments.parse_attack`; no worst case includes them. Their `source` is the
            file or function of another classifier with the same input range, for a black-box attack.
        exports: files to write besides the printed text.
        defence: method of a defence that stands in front of a classifier. It is trained for this classifier, which is then
            evaluated alone and behind the defence. None for no defence.
    """

    needs_tensorflow: ClassVar[bool] = True

    model: own_model.Source
    dataset: str
    input_range: tuple[float, float]
    workspace: Workspace
    method: str | None = None
    seed: int = 0
    scale: str = "paper"
    protocol: str = "paper"
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    attack_suite: str = "paper"
    attacks: tuple[str, ...] = ()
    exports: Exports = dataclasses.field(default_factory=Exports)
    defence: str | None = None

    def check(self) -> None:
        """See `Command.check`."""
        spec = self._spec
        self.exports.check(spec.bn_evaluation)
        self._other(self.method)
        self._other(self.defence)
        for attack in (spec.attack(text) for text in self.attacks):
            if attack.composed or attack.access == "generator":
                hint = " (--method=generator trains one)" * (not attack.composed)
                raise UsageError(f"attack: expected one that is crafted on the classifier, received {attack.name}{hint}")
            if not attack.packages:
                attack.check(classes=find_dataset(self.dataset).classes, bn_evaluation=spec.bn_evaluation)

    @functools.cached_property
    def _spec(self) -> Experiment:
        """The experiment whose settings the attacks use."""
        settings = limited(self.attack_suite, "paper", self.overrides)
        return experiment(self.dataset, "standard", protocol=self.protocol, scale="paper", **settings)

    def run(self) -> Iterator[str]:
        """See `Command.run`.

        Raises:
            UserError: there is no such classifier, it does not fit the data set, or it was trained on another pixel range.
        """
        dataset = find_dataset(self.dataset)
        adversary = self._other(self.method)
        spec = self._spec
        further = [spec.attack(text) for text in self.attacks]
        title = own_model.title(self.model)
        columns = (*WHITE_BOX, *[Column("Adaptive", ADAPTIVE)] * bool(self.defence))
        table = Table("model", title, (dataset.name,), (Row("model", spec.method),), columns).under(self.attack_suite)
        for attack in (*(spec.attack(column.attack) for column in table.columns), *further):
            attack.check(classes=dataset.classes, bn_evaluation=spec.bn_evaluation)
        with self.workspace.evaluating():
            own = own_model.load(self.model, dataset.name)
            model = own_model.with_unit_range(own, self.input_range)
        examples = self.workspace.images(dataset.name, "train", own_model.CHECKED_IMAGES)
        own_model.check_range(own, self.input_range, examples, dataset.name)
        tested = self.workspace.images(dataset.name, "test", spec.test_images)
        generators = self._train_generators(adversary, own, model) if adversary else {}
        heading = f"{title} on {len(tested.images)} test images of {dataset.name}, {ball_of(spec)}"
        yield from table.left_out
        yield self._evaluated(heading, model, spec, table, generators, tested)
        if self.defence:
            defended = self._defended(own, model)
            # The attacks are the same as on the classifier alone; a smaller scale would divide their steps.
            spec = dataclasses.replace(self._other(self.defence), scale=spec.scale)
            yield self._evaluated(f"behind {self.defence}: {heading}", defended, spec, table, generators, tested)

    def _evaluated(
        self,
        heading: str,
        model: Target,
        spec: Experiment,
        table: Table,
        generators: Mapping[str, tuple[Attack, Path]],
        tested: Images,
    ) -> str:
        """The grid and the checks of the classifier, alone or behind a defence, as text."""
        with self.workspace.evaluating():
            training_images = functools.partial(self.workspace.images, self.dataset, "train")
            found = _found_by_column(model, table, spec, generators, tested, training_images)
            asked, sources = {}, {label: load_model(file) for label, (_, file) in generators.items()}
            for text in self.attacks:
                attack = spec.attack(text)
                source, label = self._source(text, self.dataset, model, attack)
                asked[label] = _found(model, attack, source, spec, tested, training_images)
                sources[label] = source
            checked = _checks(model, tested.first(CHECKED_IMAGES), spec, table, found, asked)
            crafted = [(label, own.attack, sources.get(label, model)) for label, own in (found | asked).items()]
            self.exports.write(model, *tested, crafted, training_images)
        return _as_text(heading, found, _worst_cases(table, found, generators), asked, checked)

    def _other(self, method: str | None) -> Experiment | None:
        """The experiment that is trained for the classifier: generators against it, or a defence in front of it."""
        if method is None:
            return None
        names = dict(protocol=self.protocol, scale=self.scale, seed=self.seed)
        return experiment(self.dataset, method, **names, **self.overrides)

    def _defended(self, own: keras.Model, model: keras.Model) -> Defended:
        """Trains the defence, and returns the classifier behind it."""
        spec = self._other(self.defence)
        return METHODS[spec.method].load(model, self._train(spec, own, model), spec)

    def _train_generators(self, adversary: Experiment, own: keras.Model, model: keras.Model) -> dict[str, tuple[Attack, Path]]:
        """Trains generators against the classifier; returns the attack and the file of each, by its label."""
        workdir = self._train(adversary, own, model)
        attack = adversary.attack("generator")
        return {f"G {name}": (attack, workdir / generator_file(number)) for number, name in enumerate(adversary.generators)}

    def _train(self, spec: Experiment, own: keras.Model, model: keras.Model) -> Path:
        """Trains a run for the classifier unless it exists, and returns its directory.

        The run either builds on this classifier, or is a defence that can stand in front of any classifier.
        """
        workspace, knows = self.workspace, METHODS[spec.method].knows_classifier
        of_this_one = f"-{own_model.run_name(self.model, self.input_range, own)}" if knows else ""
        workdir = workspace.runs / f"{spec.name}{of_this_one}"
        places = dict(data_dir=workspace.data_dir, download=workspace.download)
        how = dict(checkpoint_seconds=workspace.checkpoint_seconds, progress=workspace.progress)
        return training.train(spec, workdir, classifier=model if knows else None, **places, **how)

    def _source(self, text: str, dataset: str, model: Target, attack: Attack) -> tuple[Target, str]:
        """The model that a further attack is crafted on, and the attack's label."""
        source = parse_attack(text).source
        if source is None:
            return model, attack.title
        return own_model.with_unit_range(own_model.load(source, dataset), self.input_range), f"{attack.title} from {source}"


class _Found(NamedTuple):
    """An attack and its result for each test image."""

    attack: Attack
    own: PerImage

    @property
    def accuracy(self) -> float:
        """The accuracy in percent."""
        return 100 * float(self.own.right.mean())


def _found(
    model: Target, attack: Attack, source: Target, spec: Experiment, tested: Images, training_images: Training
) -> _Found:
    """Runs an attack, which may first learn from training images, and measures its results."""
    state = learn(attack, source, lesson_of(attack, training_images))
    return _Found(attack, *measure([model], *tested, attack, source, spec.bn_evaluation, state))


def _found_by_column(
    model: Target,
    table: Table,
    spec: Experiment,
    further: Mapping[str, tuple[Attack, Path]],
    tested: Images,
    training_images: Training,
) -> dict[str, _Found]:
    """The results of the white-box columns of a table, without worst cases, and of further attacks by saved networks."""

    def under(attack: Attack, source: Target) -> _Found:
        return _found(model, attack, source, spec, tested, training_images)

    # Several columns may show one attack by several metrics.
    own = {column.label: column.attack for column in table.columns if not column.worst_of and not column.source}
    found = {label: under(spec.attack(text), model) for label, text in own.items()}
    return found | {label: under(attack, load_model(file)) for label, (attack, file) in further.items()}


def _worst_cases(table: Table, found: Mapping[str, _Found], further: Iterable[str]) -> dict[str, np.ndarray]:
    """Which images are right in each of a table's worst cases; these include the further attacks."""
    masks = {}
    for column in table.columns:
        if column.worst_of:
            parts = [found[label].own.right for label in (*column.worst_of, *further) if label in found]
            masks[column.label] = worst_case(parts)
    return masks


def _checks(
    model: Target,
    shown: Images,
    spec: Experiment,
    table: Table,
    found: Mapping[str, _Found],
    asked: Mapping[str, _Found],
) -> list[checks.Check]:
    """The checks of the classifier, compared with the table's attacks.

    The attacks of `asked` are only checked for whether they changed images.
    """
    measured = [
        checks.Measured(label, one.accuracy, one.attack.reads_gradients)
        for label in dict.fromkeys(column.label for column in table.columns)
        if (one := found.get(label)) and one.attack.has_source and math.isfinite(one.attack.epsilon)
    ]
    before = found["No Noise"].accuracy
    changed = [
        checks.Changed(label, 100 * float(one.own.changed.mean()), before, one.attack.leaves_failures)
        for label, one in (found | asked).items()
        if one.attack.has_source
    ]
    how = dict(bn_evaluation=spec.bn_evaluation, changed=changed)
    return checks.of_classifier(model, *shown, spec.attack("pgd"), measured, **how)


def _as_text(
    heading: str,
    found: Mapping[str, _Found],
    worst: Mapping[str, np.ndarray],
    asked: Mapping[str, _Found],
    checked: list[checks.Check],
) -> str:
    every = found | asked
    masks = {label: one.own.right for label, one in found.items()} | dict(worst)
    masks |= {label: one.own.right for label, one in asked.items()}
    accuracies = {label: 100 * float(own.mean()) for label, own in masks.items()}
    # An attack without a ball may change an image by any amount, so it does not count for the worst case.
    bounded = {label: own for label, own in accuracies.items() if label in worst or math.isfinite(every[label].attack.epsilon)}
    lowest = min(bounded, key=bounded.__getitem__)
    lines = [f"{heading}; accuracy in %"]
    width = max(12, *(len(label) + 1 for label in accuracies))
    lines += [f"{label:<{width}}{_written(own)}" for label, own in masks.items()]
    lines.append(
        f"It labels {accuracies['No Noise']:.2f}% of the clean images correctly, and {accuracies[lowest]:.2f}% in the worst "
        f"case above ({lowest})."
    )
    before = found["No Noise"].own.right
    attacked = {label: one.own.measures(before) for label, one in every.items() if one.attack.has_source}
    lines.append(measures.as_text(attacked))
    checked_row = check_records.Checked("model", check_records.records_of("this classifier", checked, "", ()))
    return "\n".join([*lines, check_records.as_text([checked_row])])


def _written(mask: np.ndarray) -> str:
    """An accuracy as text; for a random classifier, with the interval of the mean over draws."""
    if mask.ndim == 1:
        return f"{100 * mask.mean():6.2f}"
    mean, low, high = interval_over_draws(mask)
    return f"{mean:6.2f}  [{low:.2f}, {high:.2f}], mean of {len(mask)} draws"
