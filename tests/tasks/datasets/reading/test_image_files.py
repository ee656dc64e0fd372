import io

import numpy as np
import pytest
from PIL import Image

from fewbench.tasks.datasets.reading.image_files import Square, UnreadableImage, decode, is_image


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def striped(mode: str, left, right) -> Image.Image:
    """8 × 8, the left half of one colour, the right half of another."""
    image = Image.new(mode, (8, 8), left)
    image.paste(right, (4, 0, 8, 8))
    return image


def halves(pixels: np.ndarray) -> tuple[list[int], list[int]]:
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    assert (pixels[:, :4] == pixels[0, 0]).all() and (pixels[:, 4:] == pixels[0, 7]).all()
    return pixels[0, 0].tolist(), pixels[0, 7].tolist()


def with_palette() -> Image.Image:
    image = striped("P", 0, 1)
    image.putpalette([9, 9, 9, 200, 100, 50])
    return image


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(striped("RGB", RED, BLUE)), ([255, 0, 0], [0, 0, 255])),
        (encoded(striped("L", 10, 200)), ([10] * 3, [200] * 3)),
        (encoded(striped("1", 0, 1)), ([0] * 3, [255] * 3)),
        (encoded(with_palette(), "GIF"), ([9] * 3, [200, 100, 50])),
        (encoded(with_palette(), transparency=0), ([255] * 3, [200, 100, 50])),
        (encoded(striped("RGBA", (255, 0, 0, 0), (0, 0, 255, 255))), ([255] * 3, [0, 0, 255])),
        (encoded(striped("RGBA", (0, 0, 0, 128), (0, 0, 255, 255)), "TIFF"), ([127] * 3, [0, 0, 255])),
        (encoded(striped("LA", (0, 0), (7, 255))), ([255] * 3, [7] * 3)),
        (encoded(striped("RGB", RED, BLUE), transparency=RED), ([255] * 3, [0, 0, 255])),
        (encoded(striped("I;16", 0, 65_535)), ([0] * 3, [255] * 3)),
        (encoded(striped("I;16", 257, 128 * 257)), ([1] * 3, [128] * 3)),
        (encoded(striped("I", 257, 128 * 257), "TIFF"), ([1] * 3, [128] * 3)),
        (encoded(striped("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), "TIFF"), ([255, 0, 0], [0, 0, 255])),
        (encoded(striped("RGB", RED, BLUE), "BMP"), ([255, 0, 0], [0, 0, 255])),
        (encoded(striped("RGB", RED, BLUE), "PPM"), ([255, 0, 0], [0, 0, 255])),
        (encoded(striped("RGB", RED, BLUE), "WEBP", lossless=True), ([255, 0, 0], [0, 0, 255])),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(content, expected):
    assert halves(decode(content, Square(8))) == expected


def test_cmyk_jpeg_as_in_imagenet_has_the_right_colours():
    image = striped("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)).resize((64, 64), Image.Resampling.NEAREST)
    pixels = decode(encoded(image, "JPEG", quality=95), Square(64)).astype(int)
    assert np.abs(pixels[:, :24] - RED).max() < 12 and np.abs(pixels[:, 40:] - BLUE).max() < 12


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (7, 7)), (6, (0, 7)), (8, (7, 0)), (2, (0, 7))])
def test_exif_turns_an_image_upright(orientation, corner):
    image = Image.new("RGB", (8, 8))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(image, exif=exif), Square(8))
    assert [tuple(place) for place in np.argwhere(pixels.any(axis=2))] == [corner]


def test_an_image_of_the_wanted_size_keeps_its_pixels(pixels, png):
    np.testing.assert_array_equal(decode(png(1), Square(8)), pixels(1))
    np.testing.assert_array_equal(decode(pixels(1), Square(8)), pixels(1))


def test_another_size_is_resized_as_a_whole_by_lanczos():
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8))
    expected = np.asarray(wide.resize((10, 10), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(decode(encoded(wide), Square(10)), expected)
    np.testing.assert_array_equal(decode(np.asarray(wide), Square(10)), expected)


def test_grey_arrays_become_rgb():
    assert decode(np.full((4, 4), 9, np.uint8), Square(4)).tolist() == np.full((4, 4, 3), 9).tolist()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"<html>not found</html>", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image of a known format"),
        (encoded(NOISE, "JPEG")[:3000], "truncated"),
        (encoded(NOISE)[:3000], "truncated"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point"),
        (encoded(Image.new("I", (4, 4), -5), "TIFF"), "more than 16 bits"),
        (b"\x89PNG\r\n\x1a\n and no more", ""),
    ],
)
def test_what_cannot_be_decoded_says_why_in_one_line(content, reason):
    with pytest.raises(UnreadableImage) as caught:
        decode(content, Square(8))
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_images_are_known_by_their_suffix():
    assert [name for name in ("a.JPEG", "a.jpg", "b/c.Png", "a.txt", "jpg", "a.jpg.part") if is_image(name)] == [
        "a.JPEG",
        "a.jpg",
        "b/c.Png",
    ]
