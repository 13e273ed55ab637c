"""Networks as tables: published errors, heights and widths."""

from typing import Any

import pytest

from imclass.app.text.networks import errors_text, network_text, networks_table


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (None, None),
        ({"top1": 27.0, "top5": 8.8, "protocol": ""}, "27.0/8.8"),
        ({"top1": None, "top5": 10.07, "protocol": ""}, "-/10.07"),
    ],
)
def test_errors_are_joined_by_a_slash(published: dict[str, Any] | None, expected: str | None) -> None:
    assert errors_text(published) == expected


def test_height_and_width_are_both_printed_if_they_differ() -> None:
    layer = {
        "name": "features.a", "kind": "Conv2d", "kernel": [1, 7], "output": [8, 5, 5], "parameters": 1_728,
        "macs": 3, "receptive_field": [1, 2047], "stride": [2, 2],
    }  # fmt: skip
    lines = network_text({"name": "n", "layers": [layer, layer | {"kind": "ReLU"}]}).splitlines()
    assert lines[0] == "name: n" and len(lines) == 4
    assert lines[3].split() == ["features.a", "Conv2d", "1x7", "8x5x5", "1,728", "3", "1x2047", "2"]


def test_a_table_without_networks_is_none() -> None:
    assert networks_table([]) == "none"
