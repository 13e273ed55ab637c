"""Small trees in the layouts in which VOC, COCO, Flowers-102, CUB-200-2011 and Stanford Dogs are distributed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.support.small import picture

VOC_CLASSES = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]
# The objects in each image: their classes, with "?" before those that are difficult.
VOC_OBJECTS = {
    "000001": ("dog", "person"),
    "000002": ("?dog",),
    "000003": ("?cat", "cat", "?person"),
    "000004": (),
    "000005": ("dog",),
    "000006": ("train",),
    "000007": ("person", "person"),
    "000008": ("dog", "?train"),
}
VOC_LISTS = {
    "train": ("000001", "000002", "000003", "000004"),
    "val": ("000005", "000006"),
    "trainval": ("000001", "000002", "000003", "000004", "000005", "000006"),
    "test": ("000007", "000008"),
}
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
DOG_BREEDS = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02106662-German_shepherd")


def write_photo(path: Path, seed: int, bright: bool = False, grey: bool = False) -> None:
    """Write a small JPEG that is brighter on the right if `bright`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = Image.fromarray(picture(seed, bright, side=24))
    (pixels.convert("L") if grey else pixels).save(path, "JPEG")


def voc_tree(root: Path, year: str = "VOC2007", objects: Mapping[str, Sequence[str]] = VOC_OBJECTS) -> Path:
    """Write a year of VOC below `root / "VOCdevkit"`, and return its folder. One image is grey."""
    folder = root / "VOCdevkit" / year
    for n, (image, found) in enumerate(objects.items()):
        write_photo(folder / "JPEGImages" / f"{image}.jpg", n, "dog" in found, grey=image == "000004")
        write_annotation(folder / "Annotations" / f"{image}.xml", found)
    for name, images in VOC_LISTS.items():
        write_voc_lists(folder / "ImageSets" / "Main", name, {image: objects[image] for image in images})
    return folder


def write_voc_lists(folder: Path, name: str, objects: Mapping[str, Sequence[str]]) -> None:
    """Write the list of a split, and the lists of the classes, aligned as in the devkit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{image}\n" for image in objects))
    for label in VOC_CLASSES:
        marks = {image: 1 if label in found else 0 if f"?{label}" in found else -1 for image, found in objects.items()}
        lines = [f"{image} {mark:2d}\n" for image, mark in marks.items()]
        (folder / f"{label}_{name}.txt").write_text("".join(lines))


def write_annotation(path: Path, found: Sequence[str]) -> None:
    """Write an XML file. A person has a part, whose name is not that of an object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = [
        f"<object><name>{label.removeprefix('?')}</name><difficult>{int(label[0] == '?')}</difficult>"
        + ("<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>" if label == "person" else "")
        + "</object>"
        for label in found
    ]
    path.write_text(f"<annotation><filename>{path.stem}.jpg</filename>{''.join(objects)}</annotation>")


def coco_categories() -> list[dict[str, Any]]:
    """Return the 80 categories with their numbers between 1 and 90."""
    from imclass.data.sets.coco import COCO_CLASSES  # in the order of the numbers

    numbers = [n for n in range(1, 91) if n not in COCO_GAPS]
    return [{"supercategory": "thing", "id": n, "name": c} for n, c in zip(numbers, COCO_CLASSES, strict=True)]


def coco_json(path: Path, names: Mapping[int, str], objects: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Write a file of annotations, and return its content. An object has an image, a category and `iscrowd`."""
    content: dict[str, Any] = {
        "info": {"description": "COCO", "year": 2017},
        "images": [{"license": 1, "file_name": name, "height": 24, "width": 24, "id": n} for n, name in names.items()],
        "licenses": [{"id": 1, "name": 'a "licence", [so] {called}'}],
        "annotations": [
            {
                "segmentation": {"counts": [3, 4], "size": [24, 24]} if crowd else [[1.5, 2.25, 3.0, 4.0, 5.0, 6.0]],
                "area": 2.5,
                "iscrowd": crowd,
                "image_id": image,
                "bbox": [1.5, 2.0, 3.0, 4.0],
                "category_id": category,
                "id": n,
            }
            for n, (image, category, crowd) in enumerate(objects, 1)
        ],
        "categories": coco_categories(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return content


def coco_tree(root: Path, year: str = "2017", images: str = "") -> Path:
    """Write an edition of COCO. One image has two classes, one only a crowd, and one no object; one is grey."""
    prefix = {"2014": "COCO_{}2014_"}.get(year, "")
    names = {n: f"{prefix.format('train')}{n:012d}.jpg" for n in (30, 9, 25, 34)}  # not in the order of the names
    objects = [(9, 1, 0), (9, 18, 0), (9, 1, 0), (25, 90, 1), (34, 13, 0)]
    coco_json(root / "annotations" / f"instances_train{year}.json", names, objects)
    held_out = {n: f"{prefix.format('val')}{n:012d}.jpg" for n in (139, 285)}
    coco_json(root / "annotations" / f"instances_val{year}.json", held_out, [(139, 1, 0), (285, 18, 0)])
    for part, listed in (("train", names), ("val", held_out)):
        for n, name in listed.items():
            write_photo(root / images / f"{part}{year}" / name, n, grey=n == 34)
    return root


def flowers_tree(root: Path) -> Path:
    """Write Flowers-102 with twelve images of three classes: two, four and six in the sets."""
    labels = np.array([[1, 77, 102] * 4], np.uint8)
    for n in range(1, 13):
        write_photo(root / "jpg" / f"image_{n:05d}.jpg", n, n % 3 == 2, grey=n == 5)
    savemat(root / "imagelabels.mat", {"labels": labels})
    sets = {"trnid": [[12, 1, 2]], "valid": [[3, 4, 5]], "tstid": [[6, 7, 8, 9, 10, 11]]}
    savemat(root / "setid.mat", {name: np.array(ids, np.uint16) for name, ids in sets.items()}, do_compression=True)
    return root


def birds_tree(root: Path) -> Path:
    """Write CUB-200-2011 with two classes of four images, of which two of each are in train. One is grey."""
    folder = root / "CUB_200_2011"
    classes = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    lines: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for n in range(1, 9):
        k = (n - 1) // 4
        file = f"{classes[k]}/{classes[k][4:]}_{n:04d}_{90 - n}.jpg"
        write_photo(folder / "images" / file, n, k == 1, grey=n == 3)
        lines["images"].append(f"{n} {file}")
        lines["image_class_labels"].append(f"{n} {k + 1}")
        lines["train_test_split"].append(f"{n} {n % 2}")
    lines["classes"] = [f"{k} {name}" for k, name in enumerate(classes, 1)]
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))
    return folder


def dogs_tree(root: Path, lists: str = "") -> Path:
    """Write Stanford Dogs with three breeds: three training images and one test image of each. One is grey."""
    files: dict[str, list[str]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for k, breed in enumerate(DOG_BREEDS):
        for i in range(4):
            file = f"{breed}/{breed[:9]}_{100 * k + i}.jpg"
            write_photo(root / "Images" / file, 10 * k + i, k == 1, grey=i == 3)
            files["test" if i == 3 else "train"].append(file)
            labels["test" if i == 3 else "train"].append(k + 1)
    for split in files:
        write_dog_list(root / lists / f"{split}_list.mat", files[split], labels[split])
    return root


def write_dog_list(path: Path, files: Sequence[str], labels: Sequence[int]) -> None:
    """Write a list with a column of cells, as the published one has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((len(files), 1), object)
    cells[:, 0] = list(files)
    savemat(path, {"file_list": cells, "labels": np.array(labels, np.uint8)[:, None]}, do_compression=True)
