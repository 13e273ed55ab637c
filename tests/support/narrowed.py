"""Small copies of real networks with weights that give distinct scores."""

from typing import Any

import torch
from torch import nn

from imclass.core.config import Model
from imclass.models.classifier import NetworkClassifier, create, networks
from tests.support.narrow import narrow

# Networks that dense protocols slide over images in three different manners, and further fields of their rows. At 64
# pixels VGG's first fully connected layer takes 2 x 2 maps. With so few inputs, scores and rounding errors stay small.
REAL: list[tuple[str, dict[str, Any]]] = [
    ("lenet-5", {}),
    ("resnet-cifar-20", {}),
    ("vgg-d", {"size": 64, "widths": (4, 4, 6, 6, 8), "hidden": (8, 8)}),
]


def small(name: str, classes: int = 5, **row: Any) -> NetworkClassifier:
    """Return a narrow copy with He's weights, so that scores of two images differ; `row` sets further fields."""
    model = Model(name, narrow(networks()[name]) | row)
    classifier = create(model, [f"class {k}" for k in range(classes)])
    torch.manual_seed(0)
    for module in classifier.network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 1.5 if isinstance(module, nn.Conv2d) else 1
    return classifier
