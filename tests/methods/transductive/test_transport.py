import torch
from torch import Generator, Tensor

from fewbench.methods.transductive.transport import TOLERANCE, balanced

QUERIES = 75


def problems(seed: int, count: int, sharpness: float) -> Tensor:
    """Scores [E, 5, 75] of queries near their own class; the last two classes are mixed, the others apart as far as it goes."""
    generator = Generator().manual_seed(seed)
    scores = torch.full((count, 5, QUERIES), -83.0)
    own = torch.arange(QUERIES) % 5
    scores[:, own, torch.arange(QUERIES)] = torch.randn(count, QUERIES, generator=generator)
    mixed = own >= 3
    scores[:, 3:, mixed] = sharpness * torch.randn(count, 2, int(mixed.sum()), generator=generator)
    return scores


def plans(scores: Tensor) -> Tensor:
    sizes = torch.full((len(scores), 5, 1), QUERIES / 5)
    return balanced(scores, sizes, torch.ones(len(scores), 1, QUERIES), torch.zeros_like(sizes))[0]


def test_certain_predictions_beside_problems_that_take_longer():
    # Their second derivative is smaller than its rounding: steps after the last that was needed led to NaN.
    scores = torch.cat([problems(seed, 64, 10.0**power) for seed, power in ((0, 0), (1, 1), (2, 2), (3, 3))])
    plan = plans(scores)
    assert plan.isfinite().all()
    assert (plan.sum(dim=2) - QUERIES / 5).abs().max() <= 2 * TOLERANCE * QUERIES
    assert (plan.sum(dim=1) - 1).abs().max() < 1e-5


def test_a_plan_does_not_depend_on_the_problems_beside_it():
    scores = torch.cat([problems(0, 4, 1.0), problems(1, 4, 300.0)])
    together, alone = plans(scores), torch.cat([plans(one[None]) for one in scores])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
