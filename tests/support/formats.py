"""Files of the formats that cameras and scanners write: TIFF, AVIF, HEIC, PPM. Expected pixels are the encoded ones."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

from tests.support.corpus import SHAPE, Expected, by_opencv, cmyk_planes, encode, exif, grey, on_white, picture, turn

HEIGHT, WIDTH = SHAPE


def tiff(
    pixels: bytes, samples: int, bits: int, photometric: int, order: str = "<", big: bool = False, **more: object
) -> bytes:
    """Return an uncompressed TIFF or BigTIFF of one strip; `more` are further fields as TAG=(type, values)."""
    fields: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("H", (WIDTH,)), 257: ("H", (HEIGHT,)), 258: ("H", (bits,) * samples), 259: ("H", (1,)),
        262: ("H", (photometric,)), 273: ("I", (16,)), 277: ("H", (samples,)), 278: ("H", (HEIGHT,)),
        279: ("I", (len(pixels),)),
    }  # fmt: skip
    fields |= {int(tag[1:]): value for tag, value in more.items()}  # type: ignore[misc]
    offset, wide = ("Q", 8) if big else ("I", 4)
    entries, rest = b"", b""
    start = 16 + len(pixels) + len(pixels) % 2
    after = start + (8 if big else 2) + len(fields) * (20 if big else 12) + wide
    for tag, (form, values) in sorted(fields.items()):
        raw = struct.pack(f"{order}{len(values)}{form}", *values)
        kind = {"B": 1, "H": 3, "I": 4}[form]
        entries += struct.pack(f"{order}HH{offset}", tag, kind, len(values))
        entries += raw.ljust(wide, b"\0") if len(raw) <= wide else struct.pack(order + offset, after + len(rest))
        rest += raw if len(raw) > wide else b""
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start)
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(fields))
    return head.ljust(16, b"\0") + pixels + b"\0" * (len(pixels) % 2) + count + entries + bytes(wide) + rest


def tiffs() -> dict[str, tuple[bytes, Expected]]:
    """Return TIFF files of all depths, palettes, CMYK, transparency, compressions, orientations, and many pages."""
    levels, exact = picture(), Expected(pixels=picture())
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).round().astype("<u2").reshape(SHAPE)
    deep = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2).astype("<u2")
    twelve = (ramp >> 4).ravel().tolist()
    packed = b"".join(
        bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in zip(twelve[::2], twelve[1::2], strict=True)
    )
    index = (np.arange(HEIGHT * WIDTH) % 5).reshape(SHAPE).astype(np.uint8)
    palette = np.array([[9, 8, 7], [250, 0, 0], [0, 250, 0], [0, 0, 250], [99, 99, 0]], np.uint8)
    inks = Image.frombytes("CMYK", (WIDTH, HEIGHT), cmyk_planes().tobytes())
    light = 255 - cmyk_planes().astype(float)
    file, alpha = io.BytesIO(), np.linspace(0, 255, HEIGHT * WIDTH).round().reshape(SHAPE).astype(np.uint8)
    inks.save(file, "TIFF")
    colours = Image.frombytes("P", (WIDTH, HEIGHT), index.tobytes())
    colours.putpalette(palette.tobytes())
    paletted, pages = io.BytesIO(), io.BytesIO()
    colours.save(paletted, "TIFF")
    later = [Image.fromarray(picture(i)[::-1]) for i in (1, 2)]
    Image.fromarray(levels).save(pages, "TIFF", save_all=True, append_images=later)
    base = levels.tobytes()
    made = {
        "plain.tif": (encode(levels, "TIFF"), exact),
        "big-endian.tif": (tiff(base, 3, 8, 2, ">"), exact),
        "large offsets.tif": (tiff(base, 3, 8, 2, big=True), exact),
        "pages.tiff": (pages.getvalue(), exact),
        "cmyk.tif": (
            file.getvalue(),
            Expected((), np.round(light[..., :3] * light[..., 3:] / 255).astype(np.uint8), 1),
        ),
        "palette.tif": (paletted.getvalue(), Expected(pixels=palette[index])),
        "grey.tif": (tiff(levels[..., 0].tobytes(), 1, 8, 1), Expected(pixels=grey(levels[..., 0]))),
        "white is zero.tif": (tiff((255 - levels[..., 0]).tobytes(), 1, 8, 0), Expected(pixels=grey(levels[..., 0]))),
        "sixteen bits.tif": (tiff(ramp.tobytes(), 1, 16, 1), Expected(pixels=grey(ramp >> 8))),
        "sixteen bits, white is zero.tif": (tiff(ramp.tobytes(), 1, 16, 0), Expected(pixels=grey(255 - (ramp >> 8)))),
        "sixteen bits rgb.tif": (tiff(deep.tobytes(), 3, 16, 2), Expected(pixels=(deep >> 8).astype(np.uint8))),
        "twelve bits.tif": (tiff(packed, 1, 12, 1), Expected(pixels=grey(ramp >> 8))),
        "alpha.tif": (encode(np.dstack([levels, alpha]), "TIFF"), Expected((), on_white(levels, alpha), 1)),
        "metadata.tif": (tiff(base, 3, 8, 2, t700=("B", (65,) * 5000), t34665=("I", (0xFFFFFF,))), exact),
        "jpeg inside.tif": (
            encode(levels, "TIFF", compression="jpeg", quality=100),
            Expected(pixels=levels, tolerance=9),
        ),
    }
    inside = encode(levels, "TIFF", compression="jpeg", quality=100)
    made["jpeg inside.tif"] = (inside, Expected(pixels=levels, tolerance=9))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        made[f"{compression}.tif"] = (encode(levels, "TIFF", compression=compression), exact)
    for o in range(1, 9):
        made[f"orientation {o}.tif"] = (tiff(base, 3, 8, 2, t274=("H", (o,))), Expected(pixels=turn(levels, o)))
    return made


def netpbms() -> dict[str, tuple[bytes, Expected]]:
    """Return Netpbm files of all six kinds, with 15 to 65535 levels, and with comments."""
    levels, exact = picture(), Expected(pixels=picture())
    one, bits = levels[..., 0], np.indices(SHAPE).sum(axis=0) % 3 == 0
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).round().astype(">u2").reshape(SHAPE)
    ten, size = (one.astype(int) * 1023 // 255).astype(">u2"), f"{WIDTH} {HEIGHT}"
    by_hand = np.round(ten.astype(float) * 255 / 1023)
    text = "\n".join(" ".join(map(str, row.ravel())) for row in levels)
    dark = "\n".join("".join("1" if black else "0" for black in row) for row in bits)
    return {
        "plain.ppm": (f"P6 {size} 255\n".encode() + levels.tobytes(), exact),
        "comments.ppm": (f"P6#a\n # b\n{WIDTH} #c 1\n{HEIGHT}\n255\n".encode() + levels.tobytes(), exact),
        "two images.ppm": (f"P6 {size} 255\n".encode() + levels.tobytes() * 2, exact),
        "digits.ppm": (f"P3\n{size}\n255\n{text}\n".encode(), exact),
        "digits.pgm": (
            f"P2 {size} 255 {' '.join(map(str, one.ravel()))}".encode(), Expected(pixels=grey(one))
        ),
        "plain.pgm": (f"P5 {size} 255\n".encode() + one.tobytes(), Expected(pixels=grey(one))),
        "sixteen bits.pgm": (f"P5 {size} 65535\n".encode() + ramp.tobytes(), Expected(pixels=grey(ramp >> 8))),
        "ten bits.pgm": (f"P5 {size} 1023\n".encode() + ten.tobytes(), Expected(pixels=grey(by_hand))),
        "plain.pbm": (f"P4 {size}\n".encode() + np.packbits(bits, 1).tobytes(), Expected(pixels=grey(255 * ~bits))),
        "digits.pbm": (f"P1\n# b\n{size}\n{dark}\n".encode(), Expected(pixels=grey(255 * ~bits))),
    }  # fmt: skip


def avifs() -> dict[str, tuple[bytes, Expected]]:
    """Return AVIF files, exact except for rounding in their colour space; animated, transparent, turned."""
    levels = picture()
    best: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4", "speed": 10}
    file, moving = io.BytesIO(), io.BytesIO()
    Image.fromarray(levels).save(file, "AVIF", exif=exif(6), **best)
    later = [Image.fromarray(picture(i)[::-1]) for i in (1, 2)]
    Image.fromarray(levels).save(moving, "AVIF", save_all=True, append_images=later, **best)
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).round().reshape(SHAPE).astype(np.uint8)
    return {
        "plain.avif": (encode(levels, "AVIF", **best), Expected(pixels=levels, tolerance=4)),
        "turned.avif": (file.getvalue(), Expected(pixels=turn(levels, 6), tolerance=4)),
        "animated.avif": (moving.getvalue(), Expected(pixels=levels, tolerance=6)),
        "alpha.avif": (encode(np.dstack([levels, alpha]), "AVIF", **best), Expected((), on_white(levels, alpha), 5)),
    }


def wide_header() -> bytes:
    """Return the AV1 sequence header, up to the sizes, of a still picture of 40,000 x 40,000 pixels."""
    bits = "000" + "1" + "1" + "00000" + "1111" + "1111" + f"{39_999:016b}" * 2
    return int(bits.ljust(56, "0"), 2).to_bytes(7, "big")


def huge() -> dict[str, bytes]:
    """Return small files that a decoder would expand to gigabytes."""
    plain, avif = tiff(picture().tobytes(), 3, 8, 2), avifs()["plain.avif"][0]
    at = avif.index(b"\x0a", avif.index(b"mdat") + 4)
    assert avif[at + 1] >= 7
    size = struct.pack(">II", WIDTH, HEIGHT)
    lists: dict[str, Any] = {f"t{tag}": ("I", (1,) * 400) for tag in (324, 325, 320)}
    overlapping = bytearray(tiff(picture().tobytes(), 3, 8, 2, **lists))
    for tag in (324, 325, 320):  # all three lists are the whole file
        entry = overlapping.index(struct.pack("<HHI", tag, 4, 400))
        overlapping[entry + 4 : entry + 12] = struct.pack("<II", len(overlapping) // 4, 0)
    return {
        "huge.tif": plain.replace(struct.pack("<HHIHH", 256, 3, 1, WIDTH, 0), struct.pack("<HHII", 256, 4, 1, 90_000)),
        "huge tile.tif": tiff(b"", 3, 8, 2, t322=("I", (30_000,)), t323=("I", (30_000,))),
        "overlapping.tif": bytes(overlapping),
        "huge.ppm": b"P6 40000 40000 255\n" + bytes(99),
        "huge.avif": avif.replace(b"ispe\0\0\0\0" + size, b"ispe\0\0\0\0" + struct.pack(">II", 40_000, 40_000)),
        "huge stream.avif": avif[: at + 2] + wide_header() + avif[at + 9 :],
    }


def refused_formats() -> dict[str, tuple[bytes, Expected]]:
    """Return files that must be refused, with the codes."""
    cut = Expected(("truncated", "damaged"))
    whole = {**tiffs(), **netpbms(), **avifs()}
    names = ("plain.tif", "tiff_lzw.tif", "digits.ppm", "plain.pgm", "plain.avif")
    parts = [(share, name, whole[name][0]) for name in names for share in (20, 60)]
    made = {f"cut at {share}%, {name}": (content[: len(content) * share // 100], cut) for share, name, content in parts}
    unsupported = Expected(("unsupported",))
    return made | {
        "float.tiff": (encode(picture()[..., 0].astype(np.float32), "TIFF"), unsupported),
        "lab.tif": (tiff(picture().tobytes(), 3, 8, 8), unsupported),
        "overlapping.tif": (huge()["overlapping.tif"], Expected(("too-complex",))),
        "no levels.pgm": (b"P5 2 2 0\n" + bytes(4), Expected(("damaged",))),
        "a level too many.ppm": (b"P3 1 1 15 1 2 16", Expected(("damaged",))),
        "words.ppm": (b"P3 1 1 15 1 two 3", Expected(("truncated",))),
        "no size.ppm": (b"P6 twelve", Expected(("damaged",))),
        "film.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(20), unsupported),
    }


def accepted_formats() -> dict[str, tuple[bytes, Expected]]:
    """Return files that must be decoded."""
    named = {
        "jpg named.tif": (encode(picture(), "JPEG"), Expected(pixels=by_opencv(encode(picture(), "JPEG")), tolerance=2))
    }
    return {**tiffs(), **netpbms(), **avifs(), **named}
