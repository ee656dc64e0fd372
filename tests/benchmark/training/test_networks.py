import numpy as np
import torch

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.training.networks import network_for
from fewbench.tasks.datasets.split import Split


def test_a_channel_that_is_the_same_in_all_images_is_divided_by_one():
    images = np.zeros((8, 16, 16, 3), np.uint8)
    images[:4, ..., 0] = 255
    split = Split("made", "train", images, np.array([0, 4, 8]), ("a", "b"), ("a", "b"), "f" * 64)
    network, preprocess = network_for(None, Conv4(width=2), split, torch.Generator().manual_seed(0))
    assert preprocess.mean == (0.5, 0.0, 0.0) and preprocess.std == (0.5, 1.0, 1.0)
    assert network(preprocess(torch.from_numpy(images))).isfinite().all()
