"""Small copies of real networks whose weights make scores that differ."""

from typing import Any

import torch
from torch import nn

from imclass.core.config import Model
from imclass.models.classifier import NetworkClassifier, create

ROWS: dict[str, dict[str, Any]] = {
    "lenet-5": {"widths": (4, 6), "hidden": (8, 8)},
    "resnet-cifar-20": {"depth": 8, "widths": (4, 6, 8)},
    "vgg-d": {"widths": (4, 4, 6, 6, 8), "hidden": (8, 8), "size": 64},
}


def small(name: str, classes: int = 5) -> NetworkClassifier:
    """The network with a few maps a layer and He's weights, so that what it says of two images differs."""
    classifier = create(Model(name, ROWS[name]), [f"class {k}" for k in range(classes)])
    torch.manual_seed(0)
    for module in classifier.network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 1.5 if isinstance(module, nn.Conv2d) else 1
    return classifier
