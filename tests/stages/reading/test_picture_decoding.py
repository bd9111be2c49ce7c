"""Pictures as pixels: every conversion, and every file that is refused."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from unlearn.stages.reading.picture_decoding import (
    PictureError,
    PictureForm,
    decoded,
    orientation,
)

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 6, 5
RGB = PictureForm(3, HEIGHT, WIDTH)
GREY = PictureForm(1, HEIGHT, WIDTH)
RGBA = PictureForm(4, HEIGHT, WIDTH)


def noise(*shape: int, seed: int = 1, kind: str = "u1") -> Any:
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


PICTURE = Image.fromarray(noise(HEIGHT, WIDTH, 3))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels(content: bytes, form: PictureForm) -> Pixels:
    found = np.frombuffer(decoded(content, form), np.uint8)
    return found.reshape(form.height, form.width, form.channels)


def by_pillow(content: bytes, mode: str) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        found = np.asarray(image.convert(mode))
    return found.reshape(*found.shape[:2], -1)


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_size(width: int, height: int, *more: bytes) -> bytes:
    """Return a PNG whose header says a size; it has hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        chunk(b"IHDR", header),
        *more,
        chunk(b"IDAT", zlib.compress(b"")),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 3, 4]),
    st.integers(0, 2**32),
    st.integers(0, 9),
    st.booleans(),
)
def test_a_png_is_what_pillow_reads(
    width: int, height: int, channels: int, seed: int, level: int, smooth: bool
) -> None:
    values = noise(height, width, channels, seed=seed)
    if smooth:  # neighbours are alike, so that an encoder uses all filters
        values = np.cumsum(np.cumsum(values // 32, 0, np.uint8), 1, np.uint8)
    content = encoded(
        Image.fromarray(values.squeeze(2) if channels == 1 else values), compress_level=level
    )

    found = pixels(content, PictureForm(channels, height, width))

    np.testing.assert_array_equal(found, values)


#: The modes of Pillow that each format can have.
MODES = [
    *(("PNG", mode) for mode in ("L", "RGB", "1", "P", "LA", "RGBA")),
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
]


@pytest.mark.parametrize(("kind", "mode"), MODES)
@pytest.mark.parametrize("form", [GREY, RGB, RGBA], ids=lambda form: form.mode)
def test_channels_are_converted_as_pillow_does(mode: str, kind: str, form: PictureForm) -> None:
    content = encoded(PICTURE.convert(mode), kind)

    np.testing.assert_array_equal(pixels(content, form), by_pillow(content, form.mode))


def test_a_grey_picture_has_its_value_in_each_channel_and_is_opaque() -> None:
    grey = PICTURE.convert("L")

    found = pixels(encoded(grey), RGBA)

    np.testing.assert_array_equal(found[..., :3], np.asarray(grey)[..., None].repeat(3, axis=2))
    assert (found[..., 3] == 255).all()


def test_opacity_is_dropped_and_not_blended() -> None:
    values = noise(HEIGHT, WIDTH, 4)
    values[..., 3] = 0

    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(values)), RGB), values[..., :3])


def test_a_transparent_colour_is_opacity() -> None:
    values = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    values[0, 0] = (1, 2, 3)
    palette = Image.fromarray(values).convert("P", palette=Image.Palette.ADAPTIVE)
    by_index = encoded(palette, transparency=palette.getpixel((0, 0)))
    by_colour = encoded(Image.fromarray(values), transparency=(1, 2, 3))

    for content in (by_index, by_colour):
        opacity = pixels(content, RGBA)[..., 3]
        assert opacity[0, 0] == 0
        assert opacity.sum() == 255 * (HEIGHT * WIDTH - 1)


@pytest.mark.filterwarnings("error")
def test_opacity_of_a_palette_is_dropped_without_a_warning() -> None:
    palette = PICTURE.convert("P")
    content = encoded(palette, transparency=bytes(range(256)))

    np.testing.assert_array_equal(pixels(content, RGB), np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(pixels(content, GREY)[..., 0], np.asarray(palette.convert("L")))
    assert len(np.unique(pixels(content, RGBA)[..., 3])) > 2


def test_of_16_bits_the_upper_8_stay() -> None:
    values = noise(HEIGHT, WIDTH, kind="u2")
    grey = encoded(Image.fromarray(values))
    assert grey[24] == 16

    np.testing.assert_array_equal(pixels(grey, GREY)[..., 0], values >> 8)
    np.testing.assert_array_equal(pixels(grey, RGB), (values >> 8)[..., None].repeat(3, axis=2))

    colours = noise(HEIGHT, WIDTH, 3, kind="u2")
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    lines = b"".join(b"\x00" + line.astype(">u2").tobytes() for line in colours)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    end = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    for special in (b"", chunk(b"tRNS", struct.pack(">3H", *map(int, colours[0, 0])))):
        np.testing.assert_array_equal(pixels(start + special + end, RGB), colours >> 8)
        assert (pixels(start + special + end, RGBA)[..., 3] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_orientation_of_exif_is_applied(orientation: int, kind: str) -> None:
    content = encoded(PICTURE, kind, exif=exif(orientation))
    with Image.open(io.BytesIO(content)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    height, width = wanted.shape[:2]
    assert (height, width) == ((WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH))

    np.testing.assert_array_equal(pixels(content, PictureForm(3, height, width)), wanted)

    resized = pixels(content, PictureForm(3, 3, 4, resize=True))
    small = Image.fromarray(wanted).resize((4, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, np.asarray(small))


def test_the_size_after_turning_counts() -> None:
    content = encoded(PICTURE, "JPEG", exif=exif(6))

    with pytest.raises(
        PictureError, match=f"is {HEIGHT} pixels wide and {WIDTH} high, not 6 and 5"
    ):
        decoded(content, RGB)


def test_an_orientation_that_does_not_exist_is_none() -> None:
    content = encoded(PICTURE, exif=exif(77))

    np.testing.assert_array_equal(pixels(content, RGB), np.asarray(PICTURE))


def test_another_size_is_refused_unless_it_is_to_be_resized() -> None:
    content = encoded(PICTURE)

    with pytest.raises(PictureError, match="is 6 pixels wide and 5 high, not 5 and 6") as caught:
        decoded(content, PictureForm(3, 6, 5))
    assert "`resize: true`" in caught.value.hints[0]

    found = pixels(content, PictureForm(3, 6, 5, resize=True))
    np.testing.assert_array_equal(
        found, np.asarray(PICTURE.resize((5, 6), Image.Resampling.BILINEAR))
    )
    # The pinned size is not resampled.
    same = pixels(content, PictureForm(3, HEIGHT, WIDTH, resize=True))
    np.testing.assert_array_equal(same, np.asarray(PICTURE))


WRITERS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: encoded(PICTURE),
    "turned": lambda: encoded(PICTURE, exif=exif(3)),
    "JPEG": lambda: encoded(PICTURE, "JPEG"),
    "progressive": lambda: encoded(PICTURE, "JPEG", progressive=True),
    "with a preview": lambda: encoded(PICTURE, "JPEG", exif=_with_preview()),
}


def _with_preview() -> bytes:
    """Return EXIF data with something that looks like a whole JPEG."""
    found = Image.Exif()
    found[0x010E] = "\xff\xd8\xff"
    return found.tobytes() + encoded(PICTURE, "JPEG")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("resize", [False, True])
def test_a_file_that_is_cut_short_anywhere_is_refused(name: str, resize: bool) -> None:
    content = WRITERS[name]()
    form = PictureForm(3, HEIGHT, WIDTH, resize=resize)
    assert len(decoded(content, form)) == form.nbytes

    for length in range(len(content)):
        with pytest.raises(PictureError):
            decoded(content[:length], form)


def test_a_byte_of_a_png_that_was_changed_is_noticed() -> None:
    content = encoded(PICTURE)

    for at in range(len(content)):
        with pytest.raises(PictureError):
            decoded(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :], RGB)


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]))
def test_any_bytes_are_read_or_refused(content: bytes, start: bytes) -> None:
    with pytest.raises(PictureError):
        decoded(start + content, RGB)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 600), st.integers(0, 255), st.integers(0, 600), st.integers(0, 255))
def test_a_damaged_jpeg_is_pixels_or_an_error(at: int, byte: int, also: int, other: int) -> None:
    content = bytearray(encoded(PICTURE, "JPEG", exif=exif(6)))
    content[at % len(content)], content[also % len(content)] = byte, other
    form = PictureForm(3, 4, 4, resize=True)
    try:
        found = decoded(bytes(content), form)
    except PictureError:
        return
    assert len(found) == form.nbytes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no bytes"),
        (encoded(PICTURE, "GIF"), "is a GIF, and only PNG and JPEG are read"),
        (encoded(PICTURE, "BMP"), "is a BMP, and only PNG"),
        (encoded(PICTURE, "TIFF"), "is a TIFF, and only PNG"),
        (encoded(PICTURE, "WEBP"), "is a WebP, and only PNG"),
        (b"hello", "is neither PNG nor JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (encoded(PICTURE, save_all=True, append_images=[PICTURE.rotate(180)]), "is animated"),
        (png_of_size(0, 5), "has no pixels"),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        decoded(content, RGB)


@pytest.mark.parametrize("turned", [b"", chunk(b"eXIf", exif(6)[6:])])
def test_a_decompression_bomb_is_refused_by_its_header(
    monkeypatch: pytest.MonkeyPatch, turned: bytes
) -> None:
    content = png_of_size(40_000, 30_000, turned)
    monkeypatch.setattr(PngImageFile, "load", lambda _self: pytest.fail("decoded"))

    with pytest.raises(PictureError, match="more than the 50,000,000 that are read"):
        decoded(content, PictureForm(3, 5, 6, resize=True))


def test_a_jpeg_of_too_many_pixels_is_refused_by_its_header() -> None:
    content = bytearray(encoded(PICTURE, "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)

    with pytest.raises(PictureError, match="60,000 x 60,000 pixels"):
        decoded(bytes(content), PictureForm(3, 5, 6, resize=True))


def test_what_follows_the_end_of_a_picture_is_not_read() -> None:
    for content in (encoded(PICTURE), encoded(PICTURE, "JPEG")):
        assert decoded(content + bytes(40), RGB) == decoded(content, RGB)


@settings(deadline=None)
@given(st.sampled_from("<>"), st.integers(0, 9), st.booleans(), st.integers(0, 60), st.binary())
def test_the_orientation_is_found_in_both_byte_orders_and_damage_is_none(
    order: str, value: int, long: bool, cut: int, tail: bytes
) -> None:
    start = b"II*\x00" if order == "<" else b"MM\x00*"
    entry = struct.pack(f"{order}HHI", 0x0112, 4 if long else 3, 1)
    entry += struct.pack(f"{order}I" if long else f"{order}HH", *([value] if long else [value, 0]))
    other = struct.pack(f"{order}HHII", 0x0100, 4, 1, 6)
    whole = b"Exif\x00\x00" + start + struct.pack(f"{order}IH", 8, 2) + other + entry

    assert orientation(whole + tail) == (value if 2 <= value <= 8 else 1)
    if cut < len(whole):
        assert orientation(whole[:cut]) in (1, value)
    assert 1 <= orientation(start + tail) <= 8
