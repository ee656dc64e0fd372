"""What is generated in the repository is what the committed records say."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["leaderboard", "--check"],
        ["table", "docs/ablation.md", "--check"],
        ["table", "docs/clip.md", "--check"],
        ["table", "docs/pretraining.md", "--check"],
        ["reproduce", "--page", "docs/reproduction.md", "--check"],
    ],
    ids=lambda command: " ".join(command),
)
def test_a_generated_page_is_up_to_date(command: list[str], bench):
    done = bench(*command, cwd=ROOT)
    assert done.code == 0, done.err
