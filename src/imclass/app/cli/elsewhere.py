"""Verbs and options of other tools, and how to do the same here."""
# Tested in tests/app/cli/test_main.py

from collections.abc import Mapping
from types import MappingProxyType

VERBS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "finetune": "imclass train RECIPE --init MODEL begins from a model's weights",
        "fit": "imclass train RECIPE trains a network",
        "resume": "repeat the `imclass train` command that was stopped, and its run resumes",
        "test": "imclass evaluate MODEL scores a model",
        "validate": "imclass evaluate MODEL scores a model",
        "val": "imclass evaluate MODEL scores a model",
        "classify": "imclass predict MODEL PATH classifies images",
        "infer": "imclass predict MODEL PATH classifies images",
        "inference": "imclass predict MODEL PATH classifies images",
        "extract": "imclass features MODEL PATH writes a layer's outputs for images",
        "convert": "imclass weights import and imclass weights export convert weights of other libraries",
        "export": "imclass weights export MODEL writes tensors, and imclass data export NAME writes images",
        "import": "imclass weights import FILE makes a model file of weights of another library",
        "download": "imclass data get NAME fetches a data set",
        "plot": "imclass report RUN writes a page of curves, confusions and mistakes",
        "list": "imclass models, recipes, data, weights and protocols print lists",
        "version": "imclass --version prints the version",
    }
)
# For the verbs that take a model. Fields of a config have a separate table, in app/runs.
OPTIONS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "pretrained": "MODEL may be NETWORK:WEIGHTS, which `imclass weights` lists",
        "model": "MODEL comes first, without an option",
        "checkpoint": "MODEL comes first, without an option",
        "source": "paths of images come after MODEL, without an option",
        "input": "paths of images come after MODEL, without an option",
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
        "threshold": "imclass evaluate MODEL --thresholds fit --save FILE fits one per class (several labels)",
        "save_json": "--json prints records; redirect them with > FILE",
        "batch_size": "evaluate and compare take --batch",
        "data_dir": "--data names a folder with one folder of images per class",
        "num_workers": "--workers sets the number of threads that decode images",
    }
)
