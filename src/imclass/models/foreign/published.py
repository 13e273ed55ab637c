"""Published weight files: the URL, checksum, licence and accuracy of each.

The URLs and the first eight digits of the SHA-256 sums, which are part of the file names, come from the publishers:
torchvision's model files, timm's configurations and results, BVLC's model zoo, and akamaster/pytorch_resnet_cifar10.
The publishers also report the accuracies, which were measured on single crops of the ILSVRC 2012 validation images or
on the CIFAR-10 test images. The licences are those of the repositories. torchvision's documentation adds that the terms
of the training data may also apply.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.core.text import suggestion
from imclass.models.entry import plain_name
from imclass.models.foreign.readers import WEIGHT_READERS
from imclass.store.store import Download, DownloadProgress, Store, ignore_progress

TORCHVISION = "https://download.pytorch.org/models"
HUB = "https://huggingface.co/timm"
GLUON = "https://github.com/rwightman/pytorch-pretrained-gluonresnet/releases/download/v0.1"
AKAMASTER = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models"


@dataclass(frozen=True)
class WeightFile:
    """A published weight file for one network."""

    network: str
    name: str
    naming: str  # the library whose tensor names the file uses
    url: str  # "" if no URL serves the file in a readable form
    sha256: str  # the leading digits that are known, possibly none
    inputs: str  # a key of `INPUTS`
    top1: float  # the published accuracy in %
    top5: float | None
    licence: str
    classes: Literal["imagenet", "cifar10"] = "imagenet"
    filename: str = ""  # the file's name, if not the last part of the URL
    source: str = ""  # for a file without a URL, a description of where to get it

    @property
    def key(self) -> str:
        """Return the file's name on the command line, NETWORK:NAME."""
        return f"{self.network}:{self.name}"

    @property
    def file(self) -> str:
        """Return the file's name, which is `filename` or else the last part of the URL."""
        return self.filename or self.url.rsplit("/", 1)[-1]

    @property
    def path(self) -> str:
        """Return the file's path in a store."""
        return f"weights/{self.network}/{self.file}"


def torchvision_file(
    network: str, file: str, top1: float, top5: float, inputs: str = "imagenet", name: str = "torchvision"
) -> WeightFile:
    """Return one of torchvision's files. The file's SHA-256 sum begins with the digits in its name."""
    digits = file.rsplit("-", 1)[1].removesuffix(".pth")
    return WeightFile(network, name, "torchvision", f"{TORCHVISION}/{file}", digits, inputs, top1, top5, "BSD-3-Clause")


def torchvision_v2_file(network: str, file: str, top1: float, top5: float) -> WeightFile:
    """Return one of torchvision's later files (IMAGENET1K_V2), for images with a shorter side of 232 pixels."""
    return torchvision_file(network, file, top1, top5, "imagenet-232", "torchvision-v2")


def hub_file(network: str, theirs: str, inputs: str, top1: float, top5: float) -> WeightFile:
    """Return one of timm's files on the Hugging Face Hub. No public source states the file's SHA-256 sum."""
    url = f"{HUB}/{theirs}/resolve/main/model.safetensors"
    filename = f"{theirs}.safetensors"
    return WeightFile(network, "timm", "timm", url, "", inputs, top1, top5, "Apache-2.0", filename=filename)


def akamaster_file(depth: int, digits: str, top1: float) -> WeightFile:
    """Return the weight file of one of akamaster's CIFAR-10 ResNets."""
    url = f"{AKAMASTER}/resnet{depth}-{digits[:8]}.th"
    return WeightFile(
        f"resnet-cifar-{depth}", "akamaster", "akamaster", url, digits, "cifar-imagenet-stats", top1, None,
        "BSD-2-Clause", "cifar10",
    )  # fmt: skip


WEIGHT_FILES: tuple[WeightFile, ...] = (
    WeightFile(
        "googlenet", "bvlc", "caffe", "", "4db39cbc15be4fab41ebacc348117681af22a87e13d958a99fe132da21b2049d",
        "caffe", 68.7, 88.9, "unrestricted", filename="bvlc_googlenet_fp16.npz",
        source="BVLC's bvlc_googlenet.caffemodel as an .npz of float16 arrays",
    ),
    torchvision_file("alexnet", "alexnet-owt-7be5be79.pth", 56.522, 79.066),
    torchvision_file("vgg-a", "vgg11-8a719046.pth", 69.020, 88.628),
    torchvision_file("vgg-b", "vgg13-19584684.pth", 69.928, 89.246),
    torchvision_file("vgg-d", "vgg16-397923af.pth", 71.592, 90.382),
    torchvision_file("vgg-e", "vgg19-dcbb9e9d.pth", 72.376, 90.876),
    torchvision_file("vgg-a-bn", "vgg11_bn-6002323d.pth", 70.370, 89.810),
    torchvision_file("vgg-b-bn", "vgg13_bn-abd245e5.pth", 71.586, 90.374),
    torchvision_file("vgg-d-bn", "vgg16_bn-6c64b313.pth", 73.360, 91.516),
    torchvision_file("vgg-e-bn", "vgg19_bn-c79401a0.pth", 74.218, 91.842),
    torchvision_file("googlenet-bn", "googlenet-1378be20.pth", 69.778, 89.530, "inception"),
    torchvision_file("inception-v3", "inception_v3_google-0cc3c7bd.pth", 77.294, 93.450, "inception"),
    torchvision_file("resnet-18", "resnet18-f37072fd.pth", 69.758, 89.078),
    torchvision_file("resnet-34", "resnet34-b627a593.pth", 73.314, 91.420),
    torchvision_file("resnet-50-v1.5", "resnet50-0676ba61.pth", 76.130, 92.862),
    torchvision_file("resnet-101-v1.5", "resnet101-63fe2227.pth", 77.374, 93.546),
    torchvision_file("resnet-152-v1.5", "resnet152-394f9c45.pth", 78.312, 94.046),
    torchvision_file("resnext-50-32x4d", "resnext50_32x4d-7cdf4587.pth", 77.618, 93.698),
    torchvision_file("resnext-101-32x8d", "resnext101_32x8d-8ba56ff5.pth", 79.312, 94.526),
    torchvision_file("resnext-101-64x4d", "resnext101_64x4d-173b62eb.pth", 83.246, 96.454, "imagenet-232"),
    torchvision_file("wide-resnet-50-2", "wide_resnet50_2-95faca4d.pth", 78.468, 94.086),
    torchvision_file("wide-resnet-101-2", "wide_resnet101_2-32ee1156.pth", 78.848, 94.284),
    torchvision_file("densenet-121", "densenet121-a639ec97.pth", 74.434, 91.972),
    torchvision_file("densenet-161", "densenet161-8d451a50.pth", 77.138, 93.560),
    torchvision_file("densenet-169", "densenet169-b2777c0a.pth", 75.600, 92.806),
    torchvision_file("densenet-201", "densenet201-c1103571.pth", 76.896, 93.370),
    torchvision_v2_file("resnet-50-v1.5", "resnet50-11ad3fa6.pth", 80.858, 95.434),
    torchvision_v2_file("resnet-101-v1.5", "resnet101-cd907fc2.pth", 81.886, 95.780),
    torchvision_v2_file("resnet-152-v1.5", "resnet152-f82ba261.pth", 82.284, 96.002),
    torchvision_v2_file("resnext-50-32x4d", "resnext50_32x4d-1a0047aa.pth", 81.198, 95.340),
    torchvision_v2_file("resnext-101-32x8d", "resnext101_32x8d-110c445d.pth", 82.834, 96.228),
    torchvision_v2_file("wide-resnet-50-2", "wide_resnet50_2-9ba9bcbe.pth", 81.602, 95.758),
    torchvision_v2_file("wide-resnet-101-2", "wide_resnet101_2-d733dc28.pth", 82.510, 96.020),
    hub_file("inception-v4", "inception_v4.tf_in1k", "inception-v4", 80.144, 94.982),
    hub_file("inception-resnet-v2", "inception_resnet_v2.tf_in1k", "inception-resnet-v2", 80.434, 95.312),
    WeightFile(
        "resnext-101-32x4d", "timm", "timm", f"{GLUON}/gluon_resnext101_32x4d-b253c8c4.pth", "b253c8c4",
        "imagenet-bicubic", 80.336, 94.908, "Apache-2.0",
    ),
    akamaster_file(20, "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8", 91.73),
    akamaster_file(32, "d509ac18", 92.63),
    akamaster_file(44, "014dd654", 93.10),
    akamaster_file(56, "4bfd9763", 93.39),
    akamaster_file(110, "1d1ed7c2", 93.68),
    akamaster_file(1202, "f3b1deed", 93.82),
)  # fmt: skip
PUBLISHED_WEIGHTS: Mapping[str, WeightFile] = {file.key: file for file in WEIGHT_FILES}


def published_file(key: str) -> WeightFile:
    """Return the published file with this key, NETWORK:NAME.

    If there is none, raise a `UserError` that suggests files for the same network.
    """
    if key in PUBLISHED_WEIGHTS:
        return PUBLISHED_WEIGHTS[key]
    network = key.partition(":")[0]
    same = [known for known in PUBLISHED_WEIGHTS if known.startswith(f"{network}:")]
    same = same or [known for known in PUBLISHED_WEIGHTS if known.startswith(f"{network}-")]  # such as vgg-a-bn
    same = same or [  # vgg16:torchvision, whose file is vgg16-397923af.pth
        file.key for file in WEIGHT_FILES if plain_name(file.file.partition("-")[0]) == plain_name(network)
    ]
    raise UserError(
        f"no published weights are called {key!r}{suggestion(key, same or PUBLISHED_WEIGHTS)}; see `imclass weights`"
    )


def obtain_file(
    file: WeightFile, store: Store, report: DownloadProgress = ignore_progress, context: ssl.SSLContext | None = None
) -> Path:
    """Find the file in the store or download it, verify its checksum, and return its path.

    In the store, the file may have its published name, or NAME (as in `key`) with the extension of any weight file.
    Before and during a download, `report(bytes received, bytes in total)` is called. If the download fails, raise a
    `UserError` that states where to save the file by hand.
    """
    download = Download(file.path, file.url, file.sha256, None, file.key, file.source)
    found = stored_file(file, store)
    if found is None:
        return store.get(download, report, context)
    if not download.matches(digest := file_digest(found)):
        raise UserError(
            f"{found} is not {file.key}: its SHA-256 begins with {digest[:12]} instead of {file.sha256[:12]}. Move "
            f"{found} out of the way, or import it: imclass weights import {found} --as {file.network} --out MODEL"
        )
    return found


def stored_file(file: WeightFile, store: Store) -> Path | None:
    """Return the path of the file in the store, or None if the store does not have it.

    The file may have its published name, or NAME (as in `key`) with the extension of any weight file. Its checksum is
    not verified.
    """
    folder = file.path.rpartition("/")[0]
    extensions = [form for extension in WEIGHT_READERS for form in (extension, extension.upper())]
    return store.find(file.path, *(f"{folder}/{file.name}{extension}" for extension in extensions))
