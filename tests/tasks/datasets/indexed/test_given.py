import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Subset

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.base import Dataset
from fewbench.tasks.datasets.reading.image_files import Square

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
LABELS = [0, 1, 2, 0, 1, 2]
NAMES = ["ash", "birch", "cedar"]


class Leaves(TorchDataset):
    classes = NAMES

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, number: int):
        return torch.from_numpy(COLOURS[number].transpose(2, 0, 1).copy()).float() / 255, LABELS[number]


def test_arrays_are_a_dataset():
    split = Dataset.from_arrays(COLOURS, LABELS, class_names=NAMES, name="leaves").split("test")
    assert (split.dataset, split.class_ids, np.diff(split.offsets).tolist()) == ("leaves", tuple(NAMES), [2, 2, 2])
    np.testing.assert_array_equal(split.images, COLOURS[[0, 3, 1, 4, 2, 5]])


@pytest.mark.parametrize(
    "images",
    [
        COLOURS.transpose(0, 3, 1, 2),
        COLOURS / 255,
        [Image.fromarray(one) for one in COLOURS],
        torch.from_numpy(COLOURS),
    ],
    ids=["channels first", "fractions", "pictures", "tensors"],
)
def test_every_form_of_images_gives_the_same(images):
    expected = Dataset.from_arrays(COLOURS, LABELS, class_names=NAMES).split("test").fingerprint
    assert Dataset.from_arrays(images, LABELS, class_names=NAMES).split("test").fingerprint == expected


def test_a_dataset_of_pytorch_brings_its_class_names():
    made = Dataset.from_torch(Leaves()).split("test")
    assert made.class_ids == tuple(NAMES)
    np.testing.assert_array_equal(made.images, COLOURS[[0, 3, 1, 4, 2, 5]])
    part = Dataset.from_torch(Subset(Leaves(), [0, 2, 3, 5])).split("test")
    assert part.class_ids == ("ash", "cedar") and len(part.images) == 4


def test_small_squares_keep_their_size_and_others_become_square():
    wanted = Square(24, "crop", "bilinear", 0.5)
    made = Dataset.from_arrays(COLOURS, LABELS)
    np.testing.assert_array_equal(made.for_backbone(wanted).split("test").images[0], COLOURS[0])
    assert made.for_backbone(Square(8, "crop", "bicubic")).split("test").images.shape[1:] == (8, 8, 3)
    wide = Dataset.from_arrays([*COLOURS[:5], COLOURS[5][:10]], LABELS)
    assert wide.for_backbone(wanted).split("test").images.shape[1:] == (24, 24, 3)


def test_labels_may_be_texts_and_grey_images_do():
    split = Dataset.from_arrays(COLOURS[..., 0], ["b", "a", "b", "a", "b", "a"]).split("test")
    assert split.class_ids == ("a", "b") and (split.images[0] == COLOURS[1, :, :, :1]).all()


def test_other_images_have_another_place():
    one, other = (Dataset.from_arrays(COLOURS, labels) for labels in (LABELS, LABELS[::-1]))
    assert one.folder() != other.folder()


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        (COLOURS, LABELS[:3], None, "6 images and 3 labels"),
        (COLOURS, [0, 1, 2, 0, 1, 3], NAMES, "label 3 has no name; there are 3 class names"),
        (COLOURS, [0.5] * 6, None, "a label is 0.5; expected one whole number or text"),
        (COLOURS, LABELS, ["a", "a", "b"], "two classes have the same name"),
        (COLOURS.astype(np.float32), LABELS, NAMES, "float32 from 0 to 255; expected uint8, or numbers from 0 to 1"),
        (COLOURS[:, :, :, :2], LABELS, NAMES, r"uint8 \[12, 12, 2\]; expected height, width and 1 or 3 channels"),
        (COLOURS[:0], [], None, "no images"),
    ],
)
def test_what_is_no_dataset_is_one_line(images, labels, names, message):
    with pytest.raises(UserError, match=message):
        Dataset.from_arrays(images, labels, class_names=names)
