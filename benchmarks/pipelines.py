"""Speed of fitted pipelines: encoders against scikit-image and scikit-learn, dense SIFT against OpenCV, and photos.

    python benchmarks/pipelines.py [--rounds 7] [--threads 2] [--claims fisher sift triangle photos]

The sides of a comparison run alternately in one process with the same number of threads. The targets are ratios:
Fisher vectors 5 times as fast as scikit-image's, dense SIFT twice as fast per descriptor as OpenCV's, and the
triangle encoding 5 times as fast as scikit-learn's patches and distances with NumPy's sums. scikit-image computes in
the precision of its input, in float32 with less accuracy than imclass. The last target is a rate: 4 photos of 500 x
375 pixels per second with dense SIFT, a projection on 80 numbers, and Fisher vectors of 256 words.
"""

import argparse
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.pipelines.chain import Chain
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.part import PatchExtractor, pipeline_parts
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.patches import Patches
from imclass.pipelines.parts.pca import Pca
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.parts.triangle import Triangle
from imclass.pipelines.parts.whiten import Whiten

WORDS, DIMS = 256, 80
HEIGHT, WIDTH = 375, 500
CLAIMS = ("fisher", "sift", "triangle", "photos")
STEP = 8  # pixels between patches
ATOMS, TINY = 1600, 8  # words of the triangle encoding, and small images
WITHIN = 1e-3  # the largest difference of equal vectors, relative to the root mean square


def alternate(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each side in each round, after one round that prepares them."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(rounds + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if round_number:
                found[name].append(time.perf_counter() - began)
    return found


def compare(sides: Mapping[str, Callable[[], Any]], rounds: int) -> None:
    """Measure several sides, and print their durations and how many times as fast as the others the first is."""
    found = alternate(sides, rounds)
    ours, *_ = found.values()
    for name, seconds in found.items():
        print(f"  {name:<22} median {1e3 * statistics.median(seconds):8.1f} ms   {spread(seconds, 1e3, '.1f')}", end="")
        ratios = [theirs / our for our, theirs in zip(ours, seconds, strict=True)]
        print(f"   ratio {statistics.median(ratios):.2f}   {spread(ratios, 1, '.2f')}" if seconds is not ours else "")


def spread(values: list[float], factor: float, form: str) -> str:
    """Return the lowest and the highest value as text."""
    return f"{factor * min(values):{form}} to {factor * max(values):{form}}"


def random_fisher(values: np.ndarray) -> Fisher:
    """Return an encoder whose mixture is centred on random descriptors. Its speed does not depend on the mixture."""
    part = Fisher(WORDS)
    part.weights_ = np.full(WORDS, 1 / WORDS, np.float32)
    part.means_ = values[np.random.default_rng(1).permutation(len(values))[:WORDS]].astype(np.float32)
    part.variances_ = np.tile(values.var(0), (WORDS, 1)).astype(np.float32)
    return part


def random_descriptors(count: int, width: int) -> Descriptors:
    """Return random descriptors of one photo."""
    random = np.random.default_rng(0)
    return Descriptors(
        values=random.standard_normal((count, width)).astype(np.float32),
        positions=(random.random((count, 2)) * (WIDTH, HEIGHT)).astype(np.float32),
        scales=np.full(count, 16, np.float32),
        image=np.zeros(count, np.int64),
        sizes=np.array([[HEIGHT, WIDTH]]),
    )


def peer_of(part: Fisher, precision: Any) -> Any:
    """Return the part's mixture as scikit-learn's, with numbers of a precision."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(WORDS, covariance_type="diag")
    arrays = (part.weights_, part.means_, part.variances_)
    mixture.weights_, mixture.means_, mixture.covariances_ = (array.astype(precision) for array in arrays)
    mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
    return mixture


def signed_squares(vector: np.ndarray) -> np.ndarray:
    """Return a Fisher vector before the signed square root, which multiplies the rounding errors of numbers near 0."""
    vector = np.sign(vector) * vector.astype(np.float64) ** 2
    return vector / np.linalg.norm(vector)


def compare_fisher(rounds: int) -> None:
    """Compare Fisher vectors of 20,000 descriptors with those of scikit-image, which must be equal."""
    from skimage.feature import fisher_vector

    x = random_descriptors(20_000, DIMS)
    ours, wide = random_fisher(x.values), x.values.astype(np.float64)
    single, double = peer_of(ours, np.float32), peer_of(ours, np.float64)
    sides = {
        "imclass": lambda: ours.transform(x)[0],
        "scikit-image, float32": lambda: fisher_vector(x.values, single, improved=True),
        "scikit-image, float64": lambda: fisher_vector(wide, double, improved=True),
    }
    print(f"Fisher vector of {len(x):,} x {DIMS} descriptors, {WORDS} words")
    exact = in_our_order(sides["scikit-image, float64"]())
    for name, vector in (("imclass", sides["imclass"]()), ("float32", in_our_order(sides["scikit-image, float32"]()))):
        error = np.abs(signed_squares(vector) - signed_squares(exact)).max()
        difference = float(error / np.sqrt((signed_squares(exact) ** 2).mean()))
        print(f"  {name} differs from scikit-image in float64 by {difference:.1e} of the root mean square")
        if difference > WITHIN:
            raise SystemExit(f"the vectors differ by more than {WITHIN:.0e}, so their speeds cannot be compared")
    compare(sides, rounds)


def in_our_order(vector: np.ndarray) -> np.ndarray:
    """Return scikit-image's vector in the order of imclass, without the gradients by the weights.

    Those by the standard deviations have the opposite sign.
    """
    half = WORDS * DIMS
    return np.concatenate([vector[WORDS : WORDS + half], -vector[WORDS + half :]])


def dense_sift() -> PatchExtractor | None:
    """Return the part that computes dense SIFT, or print that there is none."""
    try:
        return pipeline_parts()["dense-sift"](step=STEP)
    except UserError as error:
        print(f"not measured: {error}")
        return None


def compare_sift(rounds: int) -> None:
    """Compare dense SIFT with OpenCV's descriptors of the same number of patches."""
    extractor = dense_sift()
    if extractor is None:
        return
    import cv2

    photo = photos(1)[0]
    x = extractor.transform([photo])
    grey, sift = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.SIFT_create()  # type: ignore[attr-defined]
    cv2.setNumThreads(torch.get_num_threads())  # `threadpool_limits` does not know its threads
    # A patch of OpenCV has 4 x 4 cells, each three times as wide as half the size of the keypoint.
    patches = zip(x.positions.tolist(), (x.scales / 6).tolist(), strict=True)
    points = [cv2.KeyPoint(px, py, size, 0) for (px, py), size in patches]
    print(f"dense SIFT of a photo of {WIDTH} x {HEIGHT} pixels, {len(x):,} descriptors")
    compare({"imclass": lambda: extractor.transform([photo]), "OpenCV": lambda: sift.compute(grey, points)}, rounds)


def compare_triangle(rounds: int) -> None:
    """Compare the encoding of small images, from pixels to rows, with scikit-learn's patches and distances."""
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.image import extract_patches_2d

    random = np.random.default_rng(0)
    images = [np.ascontiguousarray(photo[:32, :32]) for photo in photos(TINY)]
    extractor, pyramid, ours = Patches(), Pyramid(("2x2",)), Triangle(ATOMS)
    raw = extractor.transform(images)
    whiten = Whiten().fit(raw, OneOf(np.zeros(TINY, np.int64)), 1)
    x = pyramid.transform(whiten.transform(raw))
    ours.centres_ = (x.values[random.permutation(len(x))[:ATOMS]] + random.standard_normal((ATOMS, 1))).astype("f4")
    chain = Chain((extractor, whiten, pyramid, ours))
    cells = x.cell_numbers()[0].reshape(TINY, -1)

    def encode(precision: Any, distances: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        rows, mean, matrix = [], whiten.mean_.astype(precision), whiten.matrix_.astype(precision)
        for image, cell in zip(images, cells, strict=True):
            values = extract_patches_2d(image, (extractor.side, extractor.side)).reshape(cell.size, -1)
            values = values.astype(precision)
            values -= values.mean(1, keepdims=True)
            values /= np.sqrt(values.var(1, keepdims=True) + extractor.contrast)
            z = distances((values - mean) @ matrix)
            f = np.maximum(0, z.mean(1, keepdims=True) - z)
            rows.append(np.concatenate([f[cell == k].sum(0) for k in range(4)]))
        return np.stack(rows)

    def by_sklearn(precision: Any) -> Callable[[], np.ndarray]:
        centres = ours.centres_.astype(precision)
        theirs = KMeans(ATOMS, init=centres, n_init=1, max_iter=1).fit(centres)
        theirs.cluster_centers_ = centres
        return lambda: encode(precision, theirs.transform)

    def products(values: np.ndarray) -> np.ndarray:
        squares = (values**2).sum(1, keepdims=True) + (ours.centres_**2).sum(1) - 2 * values @ ours.centres_.T
        return np.sqrt(np.maximum(squares, 0))

    sides = {
        "imclass": lambda: chain.rows(images),
        "scikit-learn": by_sklearn(np.float64),
        "scikit-learn, float32": by_sklearn(np.float32),
        "NumPy, float32": lambda: encode(np.float32, products),
    }
    print(f"triangle encoding of {TINY} images of 32 x 32, {len(x) // TINY} patches each, {ATOMS:,} words")
    expected = sides["scikit-learn"]()
    difference = float(np.abs(sides["imclass"]() - expected).max() / np.sqrt((expected**2).mean()))
    print(f"  imclass differs from scikit-learn by {difference:.1e} of the root mean square")
    if difference > WITHIN:
        raise SystemExit(f"the rows differ by more than {WITHIN:.0e}, so their speeds cannot be compared")
    compare(sides, rounds)


def photos(count: int) -> list[np.ndarray]:
    """Return synthetic photos: smooth random shapes with noise."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((count, 3, 24, 32), np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic", align_corners=False)
    noise = 0.05 * random.standard_normal((count, 3, HEIGHT, WIDTH))
    pixels = (255 * (smooth.numpy() + noise)).clip(0, 255).astype(np.uint8)
    return [np.ascontiguousarray(photo.transpose(1, 2, 0)) for photo in pixels]


def measure_photos(rounds: int) -> None:
    """Print the photos per second from pixels to Fisher vectors, with as many threads as PyTorch uses."""
    extractor = dense_sift()
    if extractor is None:
        return
    images = photos(16)
    x = extractor.transform(images[:1])
    pca = Pca(DIMS)
    pca.mean_ = x.values.mean(0)
    pca.variances_, axes = (a[::-1] for a in np.linalg.eigh(np.cov(x.values.T)))
    pca.components_ = np.ascontiguousarray(axes[:DIMS], np.float32)
    chain = Chain((extractor, pca, random_fisher(pca.transform(x).values)))
    print(f"photos of {WIDTH} x {HEIGHT} to Fisher vectors, {len(x):,} descriptors each")
    found = alternate({"imclass": lambda: chain.rows(images)}, rounds)["imclass"]
    rates = [len(images) / seconds for seconds in found]
    print(f"  photos/s               median {statistics.median(rates):8.2f}      {spread(rates, 1, '.2f')}", flush=True)


def processor() -> str:
    """Return the name of the processor, where the system states it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Measure the claims and print them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=CLAIMS)
    given = parser.parse_args()
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "scikit-image", "scikit-learn")
    ]
    print(f"{processor()}, {given.threads} threads, {', '.join(versions)}")
    torch.set_num_threads(given.threads)
    with threadpool_limits(given.threads):
        if "fisher" in given.claims:
            compare_fisher(given.rounds)
        if "sift" in given.claims:
            compare_sift(given.rounds)
        if "triangle" in given.claims:
            compare_triangle(given.rounds)
    if "photos" in given.claims:
        with threadpool_limits(1):
            measure_photos(given.rounds)


if __name__ == "__main__":
    main()
