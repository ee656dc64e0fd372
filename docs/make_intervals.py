"""Writes docs/intervals.md from a simulation of its intervals: python docs/make_intervals.py (some minutes on one core)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewbench.benchmark.records.statistics import Interval, bootstrap_interval, t_interval
from fewbench.tasks.episodes import EpisodeBatch
from fewbench.tasks.samplers import UniformSampler

PAGE = Path(__file__).with_name("intervals.md")
CLASSES, WIDTH, QUERIES = 20, 4, 15
SPREAD = 1.2  # deviation of the class means; that of the images around them is 1
TEST_SETS = 10  # whose own mean is known from all their episodes
RUNS = 2_000  # simulated runs behind a figure, on all test sets together
RUNS_LONG, LONG = 500, 10_000  # fewer where a run is that long
NEW_SETS, NEW_SETS_RUN = 2_000, 400  # test sets drawn anew: for intervals without replacement, and with whole runs
RESAMPLES = 1_000
HEAD = """# What the intervals cover

A record holds two intervals, which answer two questions. [A third](#another-training) takes several records.

1. **How well does the method do on this test set?** Episodes are drawn with replacement, and the t interval is about the mean
   over all episodes that could be drawn from these images. More episodes make it as narrow as you like.
2. **How well would it do on other images of these classes?** The images are a sample, too. Only episodes that share no image
   are independent. The interval "without replacement" is the t interval of these
   ([Lafargue et al. 2024](https://arxiv.org/abs/2409.02850)), and the number of images limits it.

An interval at a level of 95 % should hold the right value in 95 % of runs. This page checks that by a simulation in which the
right value is known: {classes} classes of Gaussian features in {width} dimensions, and episodes of the uniform sampler with
{queries} queries a class, classified by the nearest class mean. `python docs/make_intervals.py` writes the page.

**Coverage in percent**, ± its own 95 % interval in the simulation:

"""
TAIL = """
**What to take away.** Quote the first interval where you compare methods on one test set. Methods that saw the same episodes
are compared by their paired differences, which vary less still ([comparing](comparing.md)). Quote the second where you say how
well a method works on such classes. As an answer to that question the first interval promises too much, the more so the more
episodes a run has and the fewer images a class: see the last column.

The second interval is cautious: it holds the value more often than it promises. Each round of its episodes uses every class
once, so that easy and hard classes balance, which the t interval does not know. With few images it rests on few episodes, here
{few} and more; below 20 episodes fewbench prints none. Neither interval is about other classes.

## Another training

Neither interval is about another training of the same network, with another seed. A third one is: the t interval of the
mean accuracies of several trainings, on the same episodes. `bench train --seeds 5` trains five times
([how](training.md#several-seeds)), and `bench compare` prints the interval where its records are of such trainings. Five
trainings of ProtoNet with a small Conv-4, of 300 steps each, are in the repository:

```
bench compare results/studies/seeds/records/trifeature/test-5way-1shot-15query-uniform/*.json
```

Their accuracies go from 38.18 to 42.05 %. The first interval of each is at most ± 0.19 points; over trainings it is
40.08 ± 1.74. So the seed of the training matters nine times as much here as the choice of 10,000 episodes, and paired tests
tell all five apart though they are of one method. Longer trainings may differ less, but no record of a single training says by
how much. Before you say that one trained method is better than another, train both more than once.
"""


@dataclass(frozen=True)
class Setting:
    """A line of the table.

    Attributes:
        images: of each class.
        ways: classes an episode.
        shots: support images a class.
        episodes: of a run.
    """

    images: int = 100
    ways: int = 5
    shots: int = 1
    episodes: int = 1_000

    def sampler(self, seed: int) -> UniformSampler:
        """Draws the episodes of a run."""
        offsets = np.arange(CLASSES + 1) * self.images
        return UniformSampler(offsets=offsets, seed=seed, ways=self.ways, shots=self.shots, queries=QUERIES)

    def features(self, generator: np.random.Generator) -> np.ndarray:
        """A test set: float32 [CLASSES · images, WIDTH], images around the class means."""
        means = SPREAD * np.random.Generator(np.random.Philox(0)).standard_normal((CLASSES, 1, WIDTH))
        drawn = means + generator.standard_normal((CLASSES, self.images, WIDTH))
        return drawn.reshape(-1, WIDTH).astype(np.float32)

    def accuracies(self, features: np.ndarray, batch: EpisodeBatch) -> np.ndarray:
        """float64 [E], of the nearest class mean."""
        support = features[batch.support].reshape(len(batch), self.shots, self.ways, WIDTH)  # shot-major
        means = support.mean(axis=1)
        scores = features[batch.query] @ means.transpose(0, 2, 1) - 0.5 * (means**2).sum(axis=2)[:, None]
        return (scores.argmax(axis=2) == batch.query_labels).mean(axis=1)


SETTINGS = (
    *(Setting(images=images) for images in (40, 100, 600)),
    Setting(episodes=100),
    Setting(episodes=LONG),
    Setting(shots=5),
    Setting(ways=10),
    Setting(images=600, ways=10, shots=5, episodes=LONG),
)


def holds(interval: Interval, value: float) -> bool:
    """Whether an interval holds a value."""
    return interval.low is not None and interval.high is not None and interval.low <= value <= interval.high


def on_this_test_set(setting: Setting) -> tuple[list[bool], list[bool]]:
    """For each run, whether the t interval and the bootstrap interval hold the mean of the test set."""
    t, bootstrap = [], []
    runs = (RUNS_LONG if setting.episodes >= LONG else RUNS) // TEST_SETS
    for number in range(TEST_SETS):
        features = setting.features(np.random.Generator(np.random.Philox(1000 + number)))
        batches = setting.sampler(number).batches(0, runs * setting.episodes)
        drawn = np.concatenate([setting.accuracies(features, batch) for batch in batches]).reshape(runs, setting.episodes)
        mean = float(drawn.mean())
        for run, accuracies in enumerate(drawn):
            t.append(holds(t_interval(accuracies), mean))
            bootstrap.append(holds(bootstrap_interval(accuracies, 0.95, run, RESAMPLES), mean))
    return t, bootstrap


def on_new_images(setting: Setting) -> tuple[list[bool], list[bool], int]:
    """For each test set, whether the interval without replacement and the t interval of a run hold the mean over test sets.

    Returns:
        Both, and the number of episodes that share no image.
    """
    apart, whole = [], []
    for number in range(NEW_SETS):
        features, sampler = setting.features(np.random.Generator(np.random.Philox(10_000 + number))), setting.sampler(number)
        disjoint = sampler.disjoint_episodes()
        assert disjoint is not None
        apart.append(setting.accuracies(features, disjoint))
        if number < NEW_SETS_RUN:
            run = [setting.accuracies(features, batch) for batch in sampler.batches(0, min(setting.episodes, LONG))]
            whole.append(np.concatenate(run))
    mean = float(np.mean(apart))
    return [holds(t_interval(one), mean) for one in apart], [holds(t_interval(one), mean) for one in whole], len(apart[0])


def percent(found: list[bool]) -> str:
    """A share in percent with the half-width of its normal interval."""
    share = float(np.mean(found))
    return f"{100 * share:.1f} ± {196 * (share * (1 - share) / len(found)) ** 0.5:.1f}"


def page() -> str:
    """The whole page."""
    rows = [
        "| images a class | task | episodes | this test set: t | this test set: bootstrap | new images: without replacement "
        "| new images: the first interval |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    fewest = LONG
    for setting in SETTINGS:
        t, bootstrap = on_this_test_set(setting)
        apart, whole, episodes = on_new_images(setting)
        fewest = min(fewest, episodes)
        rows.append(
            f"| {setting.images} | {setting.ways}-way {setting.shots}-shot | {setting.episodes:,} | {percent(t)} | "
            f"{percent(bootstrap)} | {percent(apart)} ({episodes} episodes) | {percent(whole)} |"
        )
    head = HEAD.format(classes=CLASSES, width=WIDTH, queries=QUERIES)
    return head + "\n".join(rows) + "\n" + TAIL.format(few=fewest)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
