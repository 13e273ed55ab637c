"""What flows where in a network: the operations of one forward pass, in order, without computing anything.

They are seen where PyTorch dispatches them, below modules and functions alike, so it does not matter how a network is
written: a slice, a padding, an addition or a concatenation in a block's `forward` is an operation like any other.
"""
# Tested in tests/models/analysis/test_geometry.py

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from imclass.models.network import Network


@dataclass(frozen=True)
class Value:
    """A tensor: its shape, and its number in order of making; None where it does not follow from the images."""

    number: int | None
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One operation: by which layer, in which call of any layer, ATen's name for it, its arguments and outputs.

    `layer` is the dotted name of the innermost module at work. Tensors among the arguments are `Value`s.
    """

    layer: str
    call: int
    operation: str
    arguments: tuple[Any, ...]
    outputs: tuple[Value, ...]

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        """The arguments that follow from the images."""
        return tuple(v for v in find_instances(self.arguments, Value) if v.number is not None)


def find_instances(arguments: Any, kind: type) -> list[Any]:
    """Everything of this type among arguments, lists among them included."""
    if isinstance(arguments, tuple | list):
        return [found for argument in arguments for found in find_instances(argument, kind)]
    return [arguments] if isinstance(arguments, kind) else []


def flow(network: Network) -> tuple[Step, ...]:
    """The steps from an image of the native size, value number 0, to its scores; the network is left as it was.

    They are those of evaluation mode: side outputs take no part, and dropout is nothing.
    """
    images = torch.empty(1, network.w_in, network.size, network.size, device="meta")
    recorder = Recorder()
    recorder.name(images)
    state = {name: tensor.to("meta") for name, tensor in network.state_dict(keep_vars=True).items()}
    with torch.no_grad(), evaluation_mode(network), layer_hooks(network, recorder), recorder:
        torch.func.functional_call(network, state, (images,), tie_weights=False)
    return tuple(recorder.steps)


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, each of its modules back in its own mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def layer_hooks(network: nn.Module, recorder: "Recorder") -> Iterator[None]:
    """Every module of the network tells the recorder when its turn begins and ends."""
    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda _m, _i, name=name: recorder.enter(name)))
        handles.append(module.register_forward_hook(lambda _m, _i, _o: recorder.leave()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Recorder(TorchDispatchMode):
    """Notes each operation on what follows from the images."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.at = [("", 0)]  # the modules at work, innermost last
        self.calls = self.made = 0
        self.values: dict[int, tuple[Tensor, Value]] = {}  # with the tensors, so that no id comes twice

    def enter(self, name: str) -> None:
        self.calls += 1
        self.at.append((name, self.calls))

    def leave(self) -> None:
        self.at.pop()

    def name(self, tensor: Tensor) -> Value:
        """A new value: also of a tensor that was changed in place."""
        value = Value(self.made, tuple(tensor.shape))
        self.made += 1
        self.values[id(tensor)] = (tensor, value)
        return value

    def value(self, argument: Any) -> Any:
        if isinstance(argument, tuple | list):
            return tuple(self.value(a) for a in argument)
        if not isinstance(argument, Tensor):
            return argument
        known = self.values.get(id(argument))
        return known[1] if known else Value(None, tuple(argument.shape))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        arguments, results = self.value(args), run_on_meta(func, args, kwargs or {})
        if any(v.number is not None for v in find_instances(arguments, Value)):
            outputs = tuple(self.name(tensor) for tensor in find_instances(results, Tensor))
            self.steps.append(Step(*self.at[-1], func.overloadpacket.__name__, arguments, outputs))
        return results


def run_on_meta(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation gives on the "meta" device; PyTorch's own way to a batch norm there is slow."""
    if func is torch.ops.aten.native_batch_norm.default:
        return torch.empty_like(args[0]), torch.empty(0), torch.empty(0)
    return func(*args, **kwargs)
