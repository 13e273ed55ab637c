"""Names of config fields in other tools, each with a hint that says what to use in imclass."""
# Tested in tests/app/cli/test_options.py

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from imclass.core.errors import UserError

AUGMENT_HINT = "--augment sets the kinds of augmentation in order, such as --augment area flip, or --augment none"
AREA_HINT = (
    "--augment.area.area sets the fraction of an image that a random crop covers, and --augment.area.aspect the shape"
)
BALANCE_HINT = "--balance weights gives rare classes more weight in the loss, and --costs.CLASS 5 sets a class's factor"
DATA_HINT = "--data sets the training data, such as a folder with one folder of images per class"
FLIP_HINT = "--augment.flip.probability sets the probability of a horizontal flip"
INIT_HINT = "--init sets the model whose weights training starts from, such as googlenet:bvlc or a run"
PAD_HINT = "--augment.pad.pixels sets the padding in pixels before a random crop"
OUT_HINT = "--out sets the run's folder"
RATE_HINT = "--schedule.rate sets the learning rate"
SIZE_HINT = "--preprocess.size sets the size of the network's input in pixels"
VALIDATION_HINT = "--validation sets the fraction of the training images held out for validation, such as 0.1"
FOREIGN_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "amp": "--precision bf16 computes in 16 bits",
        "aa": AUGMENT_HINT,
        "arch": "--model.network sets the network",
        "augmentation": AUGMENT_HINT,
        "augmentations": AUGMENT_HINT,
        "auto_augment": AUGMENT_HINT,
        "batch_size": "--batch sets the number of images per step",
        "bs": "--batch sets the number of images per step",
        "class_weight": BALANCE_HINT,
        "class_weights": BALANCE_HINT,
        "cos_lr": "--schedule.kind cosine decays the learning rate along a cosine",
        "data_dir": DATA_HINT,
        "data_path": DATA_HINT,
        "dropout": "--model.dropout sets the dropout of networks that have it",
        "early_stopping": "--patience sets the number of evaluations without improvement after which training stops",
        "finetune": INIT_HINT,
        "fliplr": FLIP_HINT,
        "freeze": "--rates.LAYER 0 freezes a layer; '--rates.*' 0 '--rates.head.*' 1 freezes all but the head",
        "freeze_backbone": "--rates.features 0 freezes all but the head",
        "gpu": "--device cuda trains on the GPU",
        "hflip": FLIP_HINT,
        "horizontal_flip": FLIP_HINT,
        "half": "--precision bf16 computes in 16 bits",
        "img_size": SIZE_HINT,
        "imgsz": SIZE_HINT,
        "input_size": SIZE_HINT,
        "label_smoothing": "imclass does not support label smoothing",
        "learning_rate": RATE_HINT,
        "lr": RATE_HINT,
        "lr0": RATE_HINT,
        "model": "--model.network sets the network, and --init the model whose weights training starts from",
        "momentum": "--optimiser.momentum sets the momentum",
        "name": OUT_HINT,
        "nb_classes": "the data determines the classes",
        "num_classes": "the data determines the classes",
        "no_aug": "--augment none turns augmentation off",
        "num_workers": "--workers sets the number of threads that decode images",
        "opt": "--optimiser.kind sets the optimiser",
        "optim": "--optimiser.kind sets the optimiser",
        "optimiser.lr": RATE_HINT,
        "optimiser.name": "--optimiser.kind sets the optimiser",
        "optimizer": "--optimiser.kind sets the optimiser",
        "output": OUT_HINT,
        "output_dir": OUT_HINT,
        "padding": PAD_HINT,
        "pretrained": INIT_HINT,
        "pretrained_weights": INIT_HINT,
        "project": OUT_HINT,
        "random_crop": PAD_HINT,
        "random_flip": FLIP_HINT,
        "random_resized_crop": AREA_HINT,
        "ratio": AREA_HINT,
        "recipe": "the recipe's name comes first: imclass train RECIPE",
        "resume": "the same command resumes an unfinished run; --init RUN starts a new run from a finished one",
        "save_dir": OUT_HINT,
        "save_period": "--save-every sets the seconds between checkpoints, and --save-steps the steps",
        "sched": "--schedule.kind sets the schedule",
        "schedule.name": "--schedule.kind sets the schedule",
        "scheduler": "--schedule.kind sets the schedule",
        "smoothing": "imclass does not support label smoothing",
        "val_split": VALIDATION_HINT,
        "validation_split": VALIDATION_HINT,
        "warmup_epochs": "--schedule.warmup sets the number of steps over which the learning rate rises",
        "weight_decay": "--optimiser.weight-decay sets the weight decay",
        "weights": INIT_HINT,
    }
)


def check_fields(keys: Iterable[str]) -> None:
    """Raise `UserError` for a field name from another tool. The message says what to use in imclass."""
    for key in keys:
        if key in FOREIGN_FIELDS:
            raise UserError(f"unknown option --{key.replace('_', '-')}: {FOREIGN_FIELDS[key]}")
