"""Data flow of a network: the operations of one forward pass in order, recorded without computing them.

The recorder receives the operations from PyTorch's dispatcher, below the level of modules and functions. Slicing,
padding, addition and concatenation in a block's `forward` are therefore recorded in the same way as the operations of
layers.
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
    """A tensor that an operation receives or returns."""

    number: int | None  # in order of creation; None for a tensor that does not depend on the images
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One operation on values that depend on the images."""

    layer: str  # the dotted name of the innermost module that is running
    call: int  # the index of this module call among all module calls
    operation: str  # the operation's name in ATen, PyTorch's operator library
    arguments: tuple[Any, ...]  # with `Value`s in place of tensors
    outputs: tuple[Value, ...]

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        """Return the values among the arguments that depend on the images."""
        return tuple(v for v in find_instances(self.arguments, Value) if v.number is not None)


def find_instances(arguments: Any, kind: type) -> list[Any]:
    """Return every object of type `kind` among the arguments, including those in nested lists and tuples."""
    if isinstance(arguments, tuple | list):
        return [found for argument in arguments for found in find_instances(argument, kind)]
    return [arguments] if isinstance(arguments, kind) else []


def flow(network: Network) -> tuple[Step, ...]:
    """Return the steps from an image of the native size (value number 0) to its scores. The network is unchanged.

    The steps are those of evaluation mode, without auxiliary heads or dropout.
    """
    images = torch.empty(1, network.w_in, network.size, network.size, device="meta")
    recorder = Recorder()
    recorder.add(images)
    state = {name: tensor.to("meta") for name, tensor in network.state_dict(keep_vars=True).items()}
    with torch.no_grad(), evaluation_mode(network), layer_hooks(network, recorder), recorder:
        torch.func.functional_call(network, state, (images,), tie_weights=False)
    return tuple(recorder.steps)


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and restore the former mode of each module afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def layer_hooks(network: nn.Module, recorder: "Recorder") -> Iterator[None]:
    """Notify the recorder when each module of the network starts its forward pass and when it finishes."""
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
    """A mode that records each operation on values that depend on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.running = [("", 0)]  # name and call number of each running module, innermost last
        self.calls = 0
        self.count = 0  # the number of values so far
        # Keyed by the id of the tensor. The tensor is stored too, so that Python cannot reuse its id.
        self.values: dict[int, tuple[Tensor, Value]] = {}

    def enter(self, name: str) -> None:
        self.calls += 1
        self.running.append((name, self.calls))

    def leave(self) -> None:
        self.running.pop()

    def add(self, tensor: Tensor) -> Value:
        """Record a tensor as a new value, and return the value. A tensor changed in place also becomes a new value."""
        value = Value(self.count, tuple(tensor.shape))
        self.count += 1
        self.values[id(tensor)] = (tensor, value)
        return value

    def value(self, argument: Any) -> Any:
        """Return an argument with a `Value` in place of each tensor."""
        if isinstance(argument, tuple | list):
            return tuple(self.value(a) for a in argument)
        if not isinstance(argument, Tensor):
            return argument
        known = self.values.get(id(argument))
        return known[1] if known else Value(None, tuple(argument.shape))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        arguments, results = self.value(args), run_on_meta(func, args, kwargs or {})
        if any(v.number is not None for v in find_instances(arguments, Value)):
            outputs = tuple(self.add(tensor) for tensor in find_instances(results, Tensor))
            self.steps.append(Step(*self.running[-1], func.overloadpacket.__name__, arguments, outputs))
        return results


def run_on_meta(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on the "meta" device, and return its results."""
    if func is torch.ops.aten.native_batch_norm.default:  # PyTorch's implementation on "meta" is slow
        return torch.empty_like(args[0]), torch.empty(0), torch.empty(0)
    return func(*args, **kwargs)
