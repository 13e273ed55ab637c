"""The arguments of the verb `weights`."""
# Tested in tests/app/verbs/test_weights.py

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from imclass.app.cli.syntax import Arg, CommonArguments, FileOption


@dataclass(frozen=True)
class WeightsArguments:
    """List published weights, and exchange weights with other libraries.

        weights [NETWORK:WEIGHTS]  list the published files, or describe one
        weights import FILE        make a model file: --as NETWORK --out FILE
        weights verify FILE        report how well the weights match: --as NETWORK
        weights export MODEL       write a state dict: --format LIBRARY --out FILE
        weights fold MODEL         merge batch norms into other layers: --out FILE
        weights convolve MODEL     make it fully convolutional: --out FILE

    FILE contains weights from another library. MODEL is a run, a model file, or NETWORK:WEIGHTS."""

    what: Annotated[str | None, Arg("[ACTION]", positional=True)] = None
    """import, verify, export, fold, convolve, or the published file to describe."""
    file: Annotated[str | None, Arg("[FILE|MODEL]", positional=True)] = None
    """Weight file, or a MODEL for export, fold and convolve. A weight file may be .safetensors, .npz, .pth, .pt or
    .th."""
    as_: Annotated[str | None, Arg("NETWORK")] = None
    """import, verify: network that the weights belong to."""
    out: FileOption = None
    """File to write. For export it is a state dict (.safetensors, .pth or .pt), otherwise a model file
    (.safetensors)."""
    format: Annotated[str | None, Arg("LIBRARY")] = None
    """export: target library, such as torchvision or timm."""
    from_: Annotated[str | None, Arg("LIBRARY", "best match")] = None
    """import, verify: library whose names the file uses. Examples are torchvision, timm and caffe."""
    classes: Annotated[Path | None, Arg("FILE", "ImageNet's")] = None
    """import: class names in output order. The file contains a JSON list, or one name per line. By default, 1,000
    classes get ImageNet's names, and 10 classes at 32 x 32 pixels get CIFAR-10's."""
    preprocess: Annotated[str | None, Arg("NAME|FILE", "the library's")] = None
    """import: preprocessing, such as imagenet or caffe. A JSON file may set mean, std and other such fields."""
    key: Annotated[str | None, Arg("NAME")] = None
    """import, verify: entry that contains the weights. A checkpoint may have several such entries, for example
    state_dict and state_dict_ema."""
    fine: bool = False
    """convolve: apply the last pooling layer at every position, too. The class maps become finer by a factor of that
    layer's stride (Sermanet et al., OverFeat, ICLR 2014, section 3.3)."""
    common: CommonArguments = CommonArguments()
