"""The same step, attacks and networks in PyTorch, as its users would write them (optional: pip install torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from adv_networks.experiments import Experiment
from adv_networks.lazy import keras
from benchmarks.contenders import PGD_IMAGES, classifier, minibatch, spec_of


def _convolution(inputs: int, filters: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Module:
    return nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=bias)


def _normalised(filters: int) -> nn.Module:
    return nn.BatchNorm2d(filters, eps=1e-5, momentum=0.003)


class Block(nn.Module):
    """residual-block(d, s, k)."""

    def __init__(self, inputs: int, filters: int, stride: int, project: bool):
        super().__init__()
        self.first = nn.Sequential(_convolution(inputs, filters, 3, stride), _normalised(filters), nn.ReLU(inplace=True))
        self.second = nn.Sequential(_convolution(filters, filters, 3), _normalised(filters))
        self.shortcut = (
            nn.Sequential(_convolution(inputs, filters, 1, stride), _normalised(filters)) if project else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """ReLU of the sum."""
        x, shortcut = self.second(self.first(x)), self.shortcut(x)
        x += shortcut
        return functional.relu(x, inplace=True)


def _stage(inputs: int, filters: int, blocks: int, stride: int) -> list[nn.Module]:
    return [Block(inputs if n == 0 else filters, filters, stride if n == 0 else 1, n == 0) for n in range(blocks)]


class Rescaled(nn.Module):
    """[0,1] to [-1,1]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """2x − 1."""
        return 2 * x - 1


def d1() -> nn.Module:
    """D1."""
    convolutions = [_convolution(1, 32, 5, bias=True), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    convolutions += [_convolution(32, 64, 5, bias=True), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(Rescaled(), *convolutions, nn.Flatten(), nn.Linear(7 * 7 * 64, 10))


def d2() -> nn.Module:
    """D2 of width 16."""
    stem = [_convolution(3, 16, 3), _normalised(16), nn.ReLU(inplace=True)]
    stages = [*_stage(16, 16, 3, 1), *_stage(16, 32, 3, 2), *_stage(32, 64, 3, 2)]
    return nn.Sequential(Rescaled(), *stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def g1(channels: int, width: int) -> nn.Module:
    """G1(k)."""
    layers, inputs = [Rescaled()], channels
    for stride, filters in ((1, width), (2, width), (2, 2 * width)):
        layers += [_convolution(inputs, filters, 3, stride), _normalised(filters), nn.ReLU(inplace=True)]
        inputs = filters
    layers += _stage(inputs, 4 * width, 6, 1)
    inputs = 4 * width
    for filters in (2 * width, width):
        layers += [nn.ConvTranspose2d(inputs, filters, 3, 2, 1, 1, bias=False), _normalised(filters), nn.ReLU(inplace=True)]
        inputs = filters
    return nn.Sequential(*layers, _convolution(inputs, channels, 3, bias=True), nn.Tanh())


class Copy(nn.Module):
    """A Keras model made of the layers that D1 and D2 have: images [batch, channels, height, width] to logits, at inference."""

    def __init__(self, model: keras.Model):
        super().__init__()
        layers = model.layers[1:]
        self.copies = nn.ModuleList(_copy_of(layer) for layer in layers)
        inputs = [layer.input if isinstance(layer.input, list) else [layer.input] for layer in layers]
        self.reads = [[id(tensor) for tensor in own] for own in inputs]
        self.writes = [id(layer.output) for layer in layers]
        self.first = id(model.layers[0].output)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        values = {self.first: x}
        for copy, reads, write in zip(self.copies, self.reads, self.writes, strict=True):
            values[write] = copy(*(values[read] for read in reads))
        return values[self.writes[-1]]


def copied(model: keras.Model) -> nn.Module:
    """A Keras D1 or D2 as a PyTorch module with the same weights."""
    return Copy(model).eval().requires_grad_(False)


class _Calls(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]):
        super().__init__()
        self.function = function

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """The function's value."""
        return self.function(*values)


def _copy_of(layer: keras.Layer) -> nn.Module:
    values = [torch.tensor(value) for value in layer.get_weights()]
    match type(layer).__name__:
        case "Rescaling":
            return _Calls(lambda x: layer.scale * x + layer.offset)
        case "Conv2D":
            return _copy_of_convolution(layer, *values)
        case "BatchNormalization":
            copy = nn.BatchNorm2d(len(values[0]), eps=layer.epsilon)
            names = ("weight", "bias", "running_mean", "running_var")
            copy.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
            return copy
        case "ReLU":
            return nn.ReLU()
        case "MaxPooling2D":
            return nn.MaxPool2d(layer.pool_size)
        case "Add":
            return _Calls(torch.add)
        case "GlobalAveragePooling2D":
            return _Calls(lambda x: x.mean((2, 3)))
        case "Flatten":  # in TensorFlow's order
            return _Calls(lambda x: x.permute(0, 2, 3, 1).flatten(1))
        case "Dense":
            copy = nn.Linear(*values[0].shape)
            copy.load_state_dict(dict(weight=values[0].T, bias=values[1]))
            return copy
        case other:
            raise ValueError(f"expected a layer that D1 or D2 has, received {other}")


def _copy_of_convolution(layer: keras.layers.Conv2D, kernel: torch.Tensor, *bias: torch.Tensor) -> nn.Module:
    """TensorFlow pads sides that are multiples of the stride by (kernel − stride), the smaller half first."""
    (size, _, inputs, filters), stride = kernel.shape, layer.strides[0]
    padding = max(size - stride, 0)
    copy = nn.Conv2d(inputs, filters, size, stride, 0 if padding % 2 else padding // 2, bias=bool(bias))
    copy.load_state_dict(dict(zip(("weight", "bias"), (kernel.permute(3, 2, 0, 1).contiguous(), *bias), strict=False)))
    before, after = padding // 2, padding - padding // 2
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), copy) if padding % 2 else copy


def _images(x: np.ndarray, channels_last: bool) -> torch.Tensor:
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return images.to(memory_format=torch.channels_last) if channels_last else images


def _players(dataset: str) -> tuple[nn.Module, nn.Module]:
    channels = 1 if dataset == "mnist" else 3
    return tuple(
        model.to(memory_format=torch.channels_last).train() for model in (d1() if dataset == "mnist" else d2(), g1(channels, 8))
    )


def _optimizer(d: nn.Module, spec: Experiment) -> torch.optim.Optimizer:
    options = dict(momentum=spec.momentum, weight_decay=spec.weight_decay, fused=True)
    return torch.optim.SGD(d.parameters(), spec.learning_rate, **options)


def _compiled(*functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    return [torch.compile(function) for function in functions]


def advnet(dataset: str, compiled: bool = False) -> Callable[[], None]:
    """The step of Eq. 4-5: channels last, one backward pass for (θ, v), φ + hv as values, and no gradient of θ in G's steps."""
    torch.manual_seed(0)
    spec = spec_of(dataset)
    d, g = _players(dataset)
    x, y = minibatch(spec)
    x, y = _images(x, True), torch.from_numpy(y).long()
    theta, phi, names = list(d.parameters()), list(g.parameters()), [name for name, _ in g.named_parameters()]
    d_optimizer = _optimizer(d, spec)
    g_optimizer = torch.optim.Adam(phi, spec.generator_learning_rate, betas=(spec.generator_momentum, 0.999), fused=True)

    def adversarial(parameters: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        perturbation = g(x) if parameters is None else torch.func.functional_call(g, parameters, (x,))
        return functional.cross_entropy(d(x + spec.epsilon * perturbation), y)

    def ascended() -> torch.Tensor:
        return -adversarial()

    def clean() -> torch.Tensor:
        return functional.cross_entropy(d(x), y)

    of_g, of_both, of_d = _compiled(ascended, adversarial, clean) if compiled else (ascended, adversarial, clean)

    def step() -> float:
        d.requires_grad_(False)
        for _ in range(spec.generator_steps):
            gradient = torch.autograd.grad(of_g(), phi)
            for parameter, part in zip(phi, gradient, strict=True):
                parameter.grad = part
            g_optimizer.step()
        d.requires_grad_(True)
        loss = of_d()
        first = torch.autograd.grad(loss, theta)
        both = torch.autograd.grad(of_both(), theta + phi)
        here, v = both[: len(theta)], both[len(theta) :]
        h = spec.finite_difference_step
        shifted = {name: (p + h * part).detach() for name, p, part in zip(names, phi, v, strict=True)}
        there = torch.autograd.grad(of_both(shifted), theta)
        for parameter, a, b, c in zip(theta, first, here, there, strict=True):
            parameter.grad = a + b + spec.gradient_penalty * (c - b) / h
        d_optimizer.step()
        return loss.item()

    return step


def _pgd(loss: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, epsilon: float, steps: int = 10) -> torch.Tensor:
    adversarial = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
    for _ in range(steps):
        adversarial.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(adversarial), adversarial)
        moved = adversarial.detach() + epsilon / 4 * gradient.sign()
        adversarial = torch.clamp(torch.min(torch.max(moved, x - epsilon), x + epsilon), 0, 1)
    return adversarial


def training(dataset: str, method: str, channels_last: bool = True, compiled: bool = False) -> Callable[[], None]:
    """A step of `standard` training, or of `pgd` training with PGD-10, without a gradient of θ in the attack."""
    spec = spec_of(dataset, method)
    d, _ = _players(dataset)
    if not channels_last:
        d = d.to(memory_format=torch.contiguous_format)
    x, y = minibatch(spec)
    x, y = _images(x, channels_last), torch.from_numpy(y).long()
    optimizer = _optimizer(d, spec)

    def attacked(images: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(d(images), y)

    def trained(images: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(d(images), y)

    of_images, of_d = _compiled(attacked, trained) if compiled else (attacked, trained)

    def step() -> float:
        images = x
        if method == "pgd":
            d.requires_grad_(False)
            images = _pgd(of_images, x, spec.epsilon)
            d.requires_grad_(True)
        optimizer.zero_grad()
        loss = of_d(images)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def attack(library: str, name: str) -> Callable[[], None]:
    """FGS or PGD-10 of a library on the same weights and images, called as its documentation shows."""
    model, spec = copied(classifier()), spec_of("mnist", "standard")
    x, y = minibatch(spec, PGD_IMAGES)
    images, labels, epsilon = _images(x, False), torch.from_numpy(y).long(), spec.epsilon
    if library == "torchattacks":
        import torchattacks

        made = torchattacks.FGSM(model, epsilon) if name == "fgs" else torchattacks.PGD(model, epsilon, epsilon / 4, 10)
        return lambda: made(images, labels)
    if library == "foolbox":
        import foolbox

        bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
        made = foolbox.attacks.FGSM() if name == "fgs" else foolbox.attacks.LinfPGD(abs_stepsize=epsilon / 4, steps=10)
        return lambda: made.run(bounded, images, labels, epsilon=epsilon)
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    wrapped = PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0, 1), device_type="cpu")
    options = dict(eps=epsilon, batch_size=PGD_IMAGES)
    made = (
        FastGradientMethod(wrapped, **options)
        if name == "fgs"
        else ProjectedGradientDescent(wrapped, eps_step=epsilon / 4, max_iter=10, num_random_init=1, verbose=False, **options)
    )
    return lambda: made.generate(images.numpy(), y)
