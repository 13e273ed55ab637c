"""How weights begin."""

from torch import nn


def he(network: nn.Module) -> None:
    """Each convolution from N(0, 2 / fan-in), biases 0. He et al., ICCV 2015, arXiv:1502.01852, section 2.2."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
