"""What other tools call a field of a config, and what to do here."""
# Tested in tests/app/cli/test_options.py

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from imclass.core.errors import UserError

AUGMENT = "--augment names the kinds of augmentation in their order, such as --augment area flip, or none"
AREA = "--augment.area.area sets which share of an image a random part has, --augment.area.aspect its shape"
DATA = "--data names a folder with one folder of images a class"
FLIP = "--augment.flip.probability sets how often images are mirrored left-right"
INIT = "--init names the model whose weights it begins from, such as googlenet:bvlc or a run"
PAD = "--augment.pad.pixels sets by how many pixels images are padded before a random crop"
OUT = "--out names the run's folder"
RATE = "--schedule.rate sets the learning rate"
SIZE = "--preprocess.size sets the side of the network's images in pixels"
VALIDATION = "--validation sets the share of the training images that chooses the weights, such as 0.1"
FIELDS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "amp": "--precision bf16 computes in half of the bits",
        "aa": AUGMENT,
        "arch": "--model.network names the network",
        "augmentation": AUGMENT,
        "augmentations": AUGMENT,
        "auto_augment": AUGMENT,
        "batch_size": "--batch sets how many images a step takes",
        "bs": "--batch sets how many images a step takes",
        "cos_lr": "--schedule.kind cosine lets the learning rate fall so",
        "data_dir": DATA,
        "data_path": DATA,
        "dropout": "--model.dropout sets it, where the network has it",
        "early_stopping": "--patience sets how many evaluations without a better one end training",
        "finetune": INIT,
        "fliplr": FLIP,
        "freeze": "--rates.LAYER 0 freezes a layer: '--rates.*' 0 '--rates.head.*' 1 all but the head",
        "freeze_backbone": "--rates.features 0 freezes all but the head",
        "gpu": "--device cuda trains on the GPU",
        "hflip": FLIP,
        "horizontal_flip": FLIP,
        "half": "--precision bf16 computes in half of the bits",
        "img_size": SIZE,
        "imgsz": SIZE,
        "input_size": SIZE,
        "label_smoothing": "the loss is the cross-entropy with the labels as they are",
        "learning_rate": RATE,
        "lr": RATE,
        "lr0": RATE,
        "model": "--model.network names the network, and --init a model whose weights it begins from",
        "momentum": "--optimiser.momentum sets it",
        "name": OUT,
        "nb_classes": "the names of the folders are the classes",
        "num_classes": "the names of the folders are the classes",
        "no_aug": "--augment none leaves images as they are",
        "num_workers": "--workers sets how many threads decode images",
        "opt": "--optimiser.kind names the optimiser",
        "optim": "--optimiser.kind names the optimiser",
        "optimiser.name": "--optimiser.kind names the optimiser",
        "optimizer": "--optimiser.kind names the optimiser",
        "output": OUT,
        "output_dir": OUT,
        "padding": PAD,
        "pretrained": INIT,
        "pretrained_weights": INIT,
        "project": OUT,
        "random_crop": PAD,
        "random_flip": FLIP,
        "random_resized_crop": AREA,
        "ratio": AREA,
        "recipe": "the recipe's name comes first: imclass train RECIPE",
        "resume": "the same command goes on where it was stopped; --init RUN begins a new run from a finished one",
        "save_dir": OUT,
        "save_period": "--save-every sets how many seconds lie between two checkpoints",
        "sched": "--schedule.kind names the schedule",
        "schedule.name": "--schedule.kind names the schedule",
        "scheduler": "--schedule.kind names the schedule",
        "smoothing": "the loss is the cross-entropy with the labels as they are",
        "val_split": VALIDATION,
        "validation_split": VALIDATION,
        "warmup_epochs": "--schedule.warmup sets how many steps the learning rate rises",
        "weight_decay": "--optimiser.weight-decay sets it",
        "weights": INIT,
    }
)


def check_fields(keys: Iterable[str]) -> None:
    """Raise `UserError` for a field as another tool calls it."""
    for key in keys:
        if key in FIELDS_ELSEWHERE:
            raise UserError(f"there is no option --{key.replace('_', '-')}: {FIELDS_ELSEWHERE[key]}")
