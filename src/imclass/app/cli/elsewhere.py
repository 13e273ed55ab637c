"""Verbs and options of other tools, with their imclass equivalents."""
# Tested in tests/app/cli/test_main.py

from collections.abc import Mapping
from types import MappingProxyType

VERBS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "finetune": "imclass train finetune --init MODEL fits a new last layer, then trains all layers",
        "fit": "imclass train RECIPE trains a network",
        "resume": "run the same `imclass train` command again to resume its run",
        "test": "imclass evaluate MODEL scores a model",
        "validate": "imclass evaluate MODEL scores a model",
        "val": "imclass evaluate MODEL scores a model",
        "classify": "imclass predict MODEL PATH classifies images",
        "infer": "imclass predict MODEL PATH classifies images",
        "inference": "imclass predict MODEL PATH classifies images",
        "extract": "imclass features MODEL PATH --out FILE.npz writes the features of images",
        "cam": "imclass explain MODEL PATH --out DIR draws where in an image a network finds a class",
        "visualize": "imclass explain MODEL PATH --out DIR draws where in an image a network finds a class",
        "convert": "imclass weights import and imclass weights export convert weights from and to other libraries",
        "export": "imclass weights export MODEL writes tensors, and imclass data export NAME writes images",
        "import": "imclass weights import FILE makes a model file from another library's weights",
        "download": "imclass data get NAME fetches a data set",
        "plot": "imclass report RUN writes a report with curves, confusions and mistakes",
        "list": "imclass models, recipes, data, weights, protocols and runs each print a list",
        "version": "imclass --version prints the version",
    }
)
# For verbs that take a MODEL. The fields of a config have a separate table in app/runs.
OPTIONS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "pretrained": "MODEL may be NETWORK:WEIGHTS, which `imclass weights` lists",
        "model": "MODEL is the first argument and needs no option",
        "checkpoint": "MODEL is the first argument and needs no option",
        "source": "image paths follow MODEL and need no option",
        "input": "image paths follow MODEL and need no option",
        "gpu": "--device cuda computes on the GPU",
        "cuda": "--device cuda computes on the GPU",
        "cpu": "--device cpu computes without a GPU",
        "imgsz": "the image size is stored in the model file",
        "img_size": "the image size is stored in the model file",
        "csv": "--format csv prints CSV",
        "save_txt": "--format csv prints a table for other programs; redirect it with > FILE",
        "output": "--format csv prints a table for other programs; redirect it with > FILE",
        "topk": "--top sets the number of classes printed for each image",
        "conf": "--top sets the number of classes printed for each image, with their probabilities",
        "threshold": "imclass evaluate MODEL --thresholds fit --save FILE fits multi-label thresholds, one per class",
        "save_json": "--json prints records; redirect them with > FILE",
        "batch_size": "evaluate and compare accept --batch",
        "data_dir": "--data accepts a folder with one subfolder of images per class",
        "num_workers": "--workers sets the number of threads that decode images",
    }
)
