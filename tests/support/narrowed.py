"""Small copies of real networks whose weights make scores that differ."""

from typing import Any

import torch
from torch import nn

from imclass.core.config import Model
from imclass.models.classifier import NetworkClassifier, create, networks
from tests.support.narrow import narrow


def small(name: str, classes: int = 5, **row: Any) -> NetworkClassifier:
    """The network with a few maps a layer and He's weights, so that what it says of two images differs."""
    model = Model(name, narrow(networks()[name]) | row)
    classifier = create(model, [f"class {k}" for k in range(classes)])
    torch.manual_seed(0)
    for module in classifier.network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 1.5 if isinstance(module, nn.Conv2d) else 1
    return classifier
