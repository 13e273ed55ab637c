"""Image files of every kind that users have, valid and broken, each with the expected outcome. They are reproducible.

Expected pixels are those that were encoded, or come from OpenCV's decoder, never from the code under test.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from imclass.core.errors import BadImage
from imclass.data.images.decode import decode

SHAPE = (16, 24)  # height, width


@dataclass(frozen=True)
class Expected:
    """Expected outcome of decoding: refusal with one of these codes, or these pixels.

    Without `codes` the file must be accepted. With both `codes` and `pixels` either outcome is right. `tolerance` is in
    levels of 255.
    """

    codes: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    tolerance: int = 0

    @property
    def accepted(self) -> bool:
        return not self.codes


def write_corpus(folder: Path) -> dict[str, Expected]:
    """Write a file of every kind into `folder`, creating it if needed; return the expected outcomes by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, (content, outcome) in {**accepted_files(), **oriented_files(), **refused_files()}.items():
        (folder / name).write_bytes(content)
        expected[name] = outcome
    return expected


def picture(seed: int = 0) -> np.ndarray:
    """Return H W 3 levels that are smooth, so that JPEG preserves them, and different in every corner."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = [40 + 8 * rows + 3 * columns, 230 - 6 * rows - 2 * columns, 20 + 2 * rows + 8 * columns + 5 * seed]
    return np.stack(planes, axis=2).astype(np.uint8)


def grey(levels: np.ndarray) -> np.ndarray:
    """Return a grey plane as H W 3."""
    return np.repeat(levels[:, :, None], 3, axis=2).astype(np.uint8)


def on_white(levels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return H W 3 levels composited on white with H W opacities of 255."""
    share = alpha[:, :, None] / 255
    return np.round(levels * share + 255 * (1 - share)).astype(np.uint8)


def encode(levels: np.ndarray, format: str, mode: str | None = None, **options: object) -> bytes:
    """Return these levels as a file, encoded by Pillow."""
    image = Image.fromarray(levels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def by_opencv(content: bytes) -> np.ndarray:
    """Return RGB levels as OpenCV decodes them, ignoring EXIF."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    assert decoded is not None
    return np.ascontiguousarray(decoded[:, :, ::-1])


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: list[bytes], width: int, depth: int, colour: int, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """Return a PNG of packed rows; `extra` chunks come before the pixels."""
    height = len(rows) if not interlaced else SHAPE[0]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + extra + data + chunk(b"IEND", b"")


def rgb_png(levels: np.ndarray, extra: bytes = b"") -> bytes:
    """Return an 8-bit RGB PNG."""
    return png([row.tobytes() for row in levels], levels.shape[1], 8, 2, extra)


def adam7(levels: np.ndarray) -> bytes:
    """Return an interlaced RGB PNG (PNG specification, section 8.2)."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [row.tobytes() for top, left, down, right in passes for row in levels[top::down, left::right]]
    return png(rows, levels.shape[1], 8, 2, interlaced=True)


def exif(orientation: int, order: str = "<") -> bytes:
    """Return an EXIF block that contains only the orientation."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """Return a JPEG with an additional segment at its beginning."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body + jpeg[2:]


def webp_exif(webp: bytes, block: bytes) -> bytes:
    """Return a lossless WebP wrapped with an EXIF chunk."""
    height, width = SHAPE
    canvas = struct.pack("<I", 8) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = webp[12:] + b"\0" * (len(webp) % 2)
    extra = b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    riff = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas + body + extra
    return b"RIFF" + struct.pack("<I", len(riff)) + riff


def turn(levels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the levels as a viewer displays them, placed pixel by pixel as EXIF 2.3, section 4.6.4 defines."""
    height, width = levels.shape[:2]
    shape = (height, width) if orientation <= 4 else (width, height)
    shown = np.zeros((*shape, 3), np.uint8)
    for r in range(height):
        for c in range(width):
            up, left, down, right = r, c, height - 1 - r, width - 1 - c
            places = ((up, left), (up, right), (down, right), (down, left), (left, up), (left, down), (right, down))
            at = (*places, (right, up))[orientation - 1]
            shown[at] = levels[r, c]
    return shown


def cmyk_planes() -> np.ndarray:
    """Return smooth H W 4 ink levels."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([8 * rows, 6 * columns, 200 - 4 * rows, 3 * columns], axis=2).astype(np.uint8)


def cmyk() -> tuple[bytes, Expected]:
    """Return a CMYK JPEG, inverted as Adobe does."""
    inks = cmyk_planes()
    file = io.BytesIO()
    Image.frombytes("CMYK", SHAPE[::-1], inks.tobytes()).save(file, "JPEG", quality=100, subsampling=0)
    light = 255 - inks.astype(float)
    return file.getvalue(), Expected(
        pixels=np.round(light[..., :3] * light[..., 3:] / 255).astype(np.uint8), tolerance=5
    )


def ycck() -> tuple[bytes, Expected]:
    """Return the file of `cmyk` with its first three planes declared to be luminance and colour differences."""
    content, inks = cmyk()[0], 255.0 - cmyk_planes()
    at = content.index(b"Adobe")
    content = content[: at + 11] + b"\2" + content[at + 12 :]
    y, cb, cr, k = (inks[..., i] - (128 if i in (1, 2) else 0) for i in range(4))
    light = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2).clip(0, 255)
    truth = np.round((255 - light) * k[..., None] / 255).astype(np.uint8)  # the stored inks are inverted once more
    return content, Expected(pixels=truth, tolerance=5)


def frames(format: str, levels: np.ndarray, **options: object) -> bytes:
    """Return an animation that begins with these levels."""
    file = io.BytesIO()
    later = [Image.fromarray(picture(i)[::-1]) for i in (1, 2, 3)]
    Image.fromarray(levels).save(file, format, save_all=True, append_images=later, **options)
    return file.getvalue()


def gif_picture() -> np.ndarray:
    """Return H W 3 levels with few enough colours for a GIF."""
    return (picture() // 64 * 64).astype(np.uint8)


def jpeg(progressive: bool = False) -> bytes:
    """Return a valid JPEG."""
    return encode(picture(), "JPEG", quality=95, progressive=progressive)


def bmp(levels: np.ndarray) -> bytes:
    """Return a 24-bit BMP, bottom row first."""
    height, width = levels.shape[:2]
    rows = b"".join(row[:, ::-1].tobytes().ljust(-(-3 * width // 4) * 4, b"\0") for row in levels[::-1])
    return (
        b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + rows
    )  # fmt: skip


def accepted_files() -> dict[str, tuple[bytes, Expected]]:
    """Return files that must be decoded."""
    levels, base = picture(), jpeg()
    exact, decoded = Expected(pixels=levels), Expected(pixels=by_opencv(base), tolerance=2)
    progressive = jpeg(progressive=True)
    mpo = frames("MPO", levels, quality=95)
    lossless = encode(levels, "WEBP", lossless=True)
    tall = np.tile(picture()[:1, :1], (5000, 1, 1)) + (np.arange(5000) % 7)[:, None, None].astype(np.uint8)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 50_000_000, 9))
    return {
        "plain.jpg": (base, decoded),
        "progressive.jpg": (progressive, Expected(pixels=by_opencv(progressive), tolerance=2)),
        "grey.jpg": (encode(levels[:, :, 0], "JPEG", quality=100), Expected(pixels=grey(levels[:, :, 0]), tolerance=3)),
        "trailing bytes.jpg": (base + b"\xff\xda" * 2000 + b"more", decoded),
        "without end marker.jpg": (base[:-2], Expected(("truncated",), by_opencv(base), 2)),
        "png named.jpg": (rgb_png(levels), exact),
        "cmyk.jpg": cmyk(),
        "ycck.jpg": ycck(),
        "mpo.jpg": (mpo, Expected(pixels=by_opencv(mpo), tolerance=2)),
        "bad exif.jpg": (with_segment(base, 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"), decoded),
        "cut exif.jpg": (with_segment(base, 0xE1, b"Exif\0\0" + exif(6)[:14]), decoded),
        "senseless exif.jpg": (with_segment(base, 0xE1, b"Exif\0\0" + exif(9)), decoded),
        "bad icc.jpg": (with_segment(base, 0xE2, b"ICC_PROFILE\0\1\1" + b"\xff" * 40), decoded),
        "flipped scan.jpg": (base[:-40] + b"\x13\x37" + base[-38:], Expected(("damaged", "truncated"), levels, 255)),
        "plain.png": (rgb_png(levels), exact),
        "interlaced.png": (adam7(levels), exact),
        "text bomb.png": (rgb_png(levels, text), exact),
        "bad metadata.png": (rgb_png(levels, b"\0\0\0\4tEXtabcdBAD!" + chunk(b"iCCP", b"x")), exact),
        "one pixel.png": (rgb_png(levels[:1, :1]), Expected(pixels=levels[:1, :1])),
        "tall.png": (rgb_png(tall), Expected(pixels=tall)),
        "plain.bmp": (bmp(levels), exact),
        "plain.webp": (lossless, exact),
        "plain.gif": (encode(gif_picture(), "GIF"), Expected(pixels=gif_picture())),
        "animated.gif": (frames("GIF", gif_picture()), Expected(pixels=gif_picture())),
        "animated.webp": (frames("WEBP", levels, lossless=True), exact),
        "animated.png": (frames("PNG", levels), exact),
        **transparent(),
        **deep(),
    }


def transparent() -> dict[str, tuple[bytes, Expected]]:
    """Return files with transparency, which is composited on white, and files with palettes."""
    levels = picture()
    alpha = np.linspace(0, 255, levels[:, :, 0].size).round().reshape(SHAPE).astype(np.uint8)
    rgba, la = np.dstack([levels, alpha]), np.dstack([levels[:, :, 0], alpha])
    index = (np.arange(levels[:, :, 0].size) % 5).reshape(SHAPE).astype(np.uint8)
    palette = np.array([[9, 8, 7], [250, 0, 0], [0, 250, 0], [0, 0, 250], [99, 99, 0]], np.uint8)
    opacity = np.array([255, 0, 128, 255, 255], np.uint8)
    rows = [row.tobytes() for row in index]
    plte, trns = chunk(b"PLTE", palette.tobytes()), chunk(b"tRNS", opacity.tobytes())
    clear = (levels == levels[3, 5]).all(axis=2)
    key = chunk(b"tRNS", struct.pack(">HHH", *levels[3, 5]))
    return {
        "alpha.png": (png([r.tobytes() for r in rgba], SHAPE[1], 8, 6), Expected((), on_white(levels, alpha), 1)),
        "grey and alpha.png": (
            png([r.tobytes() for r in la], SHAPE[1], 8, 4), Expected((), on_white(grey(levels[:, :, 0]), alpha), 1)
        ),
        "alpha.webp": (encode(rgba, "WEBP", lossless=True, exact=True), Expected((), on_white(levels, alpha), 1)),
        "palette.png": (png(rows, SHAPE[1], 8, 3, plte), Expected(pixels=palette[index])),
        "clear palette.png": (
            png(rows, SHAPE[1], 8, 3, plte + trns), Expected((), on_white(palette[index], opacity[index]), 1)
        ),
        "clear colour.png": (rgb_png(levels, key), Expected(pixels=np.where(clear[:, :, None], 255, levels))),
        "clear.gif": (
            encode(index, "GIF", transparency=2), Expected(pixels=np.where(grey(index) == 2, 255, grey(index)))
        ),
    }  # fmt: skip


def deep() -> dict[str, tuple[bytes, Expected]]:
    """Return files of 1, 2 and 16 bits per value; of 16 bits only the upper byte counts."""
    ramp = np.linspace(0, 65535, SHAPE[0] * SHAPE[1]).round().astype(">u2").reshape(SHAPE)
    colour = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2).astype(">u2")
    bits = np.indices(SHAPE).sum(axis=0) % 3 == 0
    two = (np.arange(SHAPE[1]) % 4)[None].repeat(SHAPE[0], 0)
    packed = [bytes((a << 6) | (b << 4) | (c << 2) | d for a, b, c, d in row.reshape(-1, 4).tolist()) for row in two]
    key = chunk(b"tRNS", struct.pack(">H", ramp[4, 4]))
    three = chunk(b"tRNS", struct.pack(">HHH", *colour[4, 4]))
    hidden = (colour == colour[4, 4]).all(axis=2)[:, :, None]
    return {
        "one bit.png": (
            png([np.packbits(r).tobytes() for r in bits], SHAPE[1], 1, 0), Expected(pixels=grey(255 * bits))
        ),
        "two bits.png": (png(packed, SHAPE[1], 2, 0), Expected(pixels=grey(85 * two))),
        "sixteen bits grey.png": (png([r.tobytes() for r in ramp], SHAPE[1], 16, 0), Expected(pixels=grey(ramp >> 8))),
        "sixteen bits rgb.png": (
            png([r.tobytes() for r in colour], SHAPE[1], 16, 2), Expected(pixels=(colour >> 8).astype(np.uint8))
        ),
        "sixteen bits clear grey.png": (
            png([r.tobytes() for r in ramp], SHAPE[1], 16, 0, key),
            Expected(pixels=grey(np.where(ramp == ramp[4, 4], 255, ramp >> 8))),
        ),
        "sixteen bits clear rgb.png": (
            png([r.tobytes() for r in colour], SHAPE[1], 16, 2, three),
            Expected(pixels=np.where(hidden, 255, colour >> 8).astype(np.uint8)),
        ),
    }  # fmt: skip


def oriented_files() -> dict[str, tuple[bytes, Expected]]:
    """Return files with every EXIF orientation, in both byte orders and in every format that supports it."""
    base, levels = jpeg(), picture()
    decoded, lossless = by_opencv(base), encode(levels, "WEBP", lossless=True)
    kinds: dict[str, tuple[bytes, Expected]] = {}
    for o in range(1, 9):
        block = exif(o, "<" if o % 2 else ">")
        marked = with_segment(base, 0xE1, b"Exif\0\0" + block)
        kinds[f"exif {o}.jpg"] = (marked, Expected((), turn(decoded, o), 2))
        kinds[f"exif {o}.png"] = (rgb_png(levels, chunk(b"eXIf", block)), Expected((), turn(levels, o)))
        kinds[f"exif {o}.webp"] = (webp_exif(lossless, block), Expected((), turn(levels, o)))
    return kinds


def refused_files() -> dict[str, tuple[bytes, Expected]]:
    """Return files that must be refused, with the codes."""
    unsupported, oversized = Expected(("unsupported",)), Expected(("too-many-pixels",))
    made = {name: (content, unsupported) for name, content in foreign().items()}
    made |= {name: (content, oversized) for name, content in huge().items()}
    for name, content in {"jpg": noisy("JPEG"), "png": noisy("PNG"), "gif": noisy("GIF"), "bmp": noisy("BMP")}.items():
        for share in (10, 50, 90, 99):
            codes = ("truncated", "damaged")
            made[f"cut at {share}%.{name}"] = (content[: len(content) * share // 100], Expected(codes))
    webp = noisy("WEBP")
    made["cut at 50%.webp"] = (webp[: len(webp) // 2], Expected(("truncated", "damaged")))
    made["empty.jpg"] = (b"", Expected(("empty",)))
    made["one byte.jpg"] = (b"\xff", unsupported)
    made["flipped header.jpg"] = (b"\xff\xd9" + jpeg()[2:], unsupported)
    made["no frame.jpg"] = (b"\xff\xd8\xff\xd9", Expected(("damaged",)))
    made["no pixels.png"] = (rgb_png(picture()).replace(struct.pack(">II", 24, 16), bytes(8)), Expected(("damaged",)))
    made["many scans.jpg"] = (many_scans(), Expected(("too-complex",)))
    return made


def foreign() -> dict[str, bytes]:
    """Return files that are not images of a supported format, under any name."""
    return {
        "text.jpg": b"this is not an image\n",
        "page.jpg": b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.jpg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "archive.jpg": b"PK\x03\x04\x14\0\0\0\0\0" + bytes(20),
        "document.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "telescope.jpg": b"SIMPLE  =                    T / conforms".ljust(80),
        "photoshop.jpg": b"8BPS\0\1" + bytes(20),
        "film.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "old.ico": encode(picture()[:16, :16], "ICO", sizes=[(16, 16)]),
        "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "zeros.png": bytes(100),
    }


def huge() -> dict[str, bytes]:
    """Return small files whose headers announce images of gigabytes."""
    big = struct.pack(">II", 40_000, 40_000)
    base = jpeg()
    frame = base.index(b"\xff\xc0") + 5
    gif = encode(gif_picture(), "GIF")
    box = gif.index(b",\0\0\0\0" + struct.pack("<HH", 24, 16))
    lossless = encode(picture(), "WEBP", lossless=True)
    lossy = encode(picture(), "WEBP", quality=80)
    return {
        "huge.png": rgb_png(picture()).replace(struct.pack(">II", 24, 16), big),
        "long.png": rgb_png(picture()).replace(struct.pack(">II", 24, 16), struct.pack(">II", 16_385, 1)),
        "huge.jpg": base[:frame] + struct.pack(">HH", 65_000, 65_000) + base[frame + 4 :],
        "huge.bmp": bmp(picture()).replace(struct.pack("<ii", 24, 16), struct.pack("<ii", 30_000, -30_000)),
        "huge.gif": gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "huge frame.gif": gif[: box + 5] + struct.pack("<HH", 10_000, 10_000) + gif[box + 9 :],
        "huge.webp": lossless[:21] + struct.pack("<I", 0x0FFFFFFF) + lossless[25:],
        "huge lossy.webp": lossy[:26] + struct.pack("<HH", 16_383, 16_383) + lossy[30:],
        "huge canvas.webp": webp_exif(lossless, b"").replace((23).to_bytes(3, "little"), b"\xff\xff\x3f", 1),
    }


def noisy(format: str) -> bytes:
    """Return an image that does not compress, so that every part of its file matters."""
    return encode(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8), format)


def many_scans() -> bytes:
    """Return a progressive JPEG whose last scan is repeated thousands of times."""
    content = jpeg(progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * 3000 + content[-2:]


def outcome(content: bytes | Path) -> str | np.ndarray:
    """Return the image, or the code with which it is refused."""
    try:
        return decode(content)
    except BadImage as bad:
        return bad.code
