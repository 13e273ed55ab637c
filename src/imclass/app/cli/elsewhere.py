"""What other tools call a verb or an option, and what to do here."""
# Tested in tests/app/cli/test_main.py

from collections.abc import Mapping
from types import MappingProxyType

VERBS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "finetune": "imclass train RECIPE --init MODEL begins from a model's weights",
        "fit": "imclass train RECIPE trains a network",
        "resume": "the `imclass train` command that was stopped goes on when it is given again",
        "test": "imclass evaluate MODEL scores a model",
        "validate": "imclass evaluate MODEL scores a model",
        "val": "imclass evaluate MODEL scores a model",
        "classify": "imclass predict MODEL PATH names what is in images",
        "infer": "imclass predict MODEL PATH names what is in images",
        "inference": "imclass predict MODEL PATH names what is in images",
        "extract": "imclass features MODEL PATH gives out what a layer makes of images",
        "convert": "imclass weights import and imclass weights export take weights in and give them out",
        "export": "imclass weights export MODEL gives out tensors, imclass data export NAME images",
        "import": "imclass weights import FILE takes weights in",
        "download": "imclass data get NAME fetches a data set",
        "plot": "imclass report RUN writes a page of curves, confusions and mistakes",
        "list": "imclass models, recipes, data, weights and protocols list what there is",
        "version": "imclass --version prints it",
    }
)
# Of the verbs that take a model; fields of a config have a table of their own, in app/runs.
OPTIONS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "pretrained": "MODEL may be NETWORK:WEIGHTS, which `imclass weights` lists",
        "model": "MODEL stands first, without an option",
        "checkpoint": "MODEL stands first, without an option",
        "source": "paths of images stand after MODEL, without an option",
        "input": "paths of images stand after MODEL, without an option",
        "gpu": "--device cuda computes on the GPU",
        "cuda": "--device cuda computes on the GPU",
        "cpu": "--device cpu computes without a GPU",
        "imgsz": "a model file says how large images are",
        "img_size": "a model file says how large images are",
        "csv": "--format csv prints that",
        "save_txt": "--format csv prints a table for other programs, which > FILE keeps",
        "output": "--format csv prints a table for other programs, which > FILE keeps",
        "topk": "--top sets how many classes an image",
        "conf": "--top sets how many classes an image; each has its probability",
        "threshold": "imclass evaluate MODEL --thresholds fit --save FILE fits one for each class of several labels",
        "save_json": "--json prints records, which > FILE keeps",
        "batch_size": "evaluate and compare take --batch",
        "data_dir": "--data names a folder with one folder of images a class",
        "num_workers": "--workers sets how many threads decode images",
    }
)
