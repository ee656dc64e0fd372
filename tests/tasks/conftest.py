"""Splits and samplers as examples, and how far counts are from uniform."""

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from fewbench.tasks.meta_dataset import MetaDatasetSampler

SEEDS = st.integers(0, 2**64 - 1)


def offsets_of(sizes: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)])


@st.composite
def meta_dataset_samplers(draw) -> MetaDatasetSampler:
    sizes = draw(st.lists(st.integers(2, 60), min_size=5, max_size=15))
    max_ways = draw(st.integers(5, 20))
    return MetaDatasetSampler(
        offsets_of(sizes),
        draw(SEEDS),
        max_ways=max_ways,
        max_support=draw(st.integers(max_ways, 200)),
        max_support_per_class=draw(st.integers(1, 50)),
        max_queries=draw(st.integers(1, 10)),
    )


def p_value(counts: np.ndarray) -> float:
    return stats.chisquare(counts).pvalue
