"""Where the context of a prompt is, and contexts that do not fit."""

from __future__ import annotations

import pytest
import torch

from fewbench.core.errors import UserError
from fewbench.methods.parts.prompt_context import Prompts

CPU = torch.device("cpu")


@pytest.fixture
def tower(make_episodes):
    return make_episodes().text_tower


def test_the_context_stands_between_start_and_name(tower):
    prompts = Prompts.of(tower, ["class3", "class0"], "a photo of a", 16, CPU)
    assert (prompts.start, prompts.length) == (1, 4)
    expected = tower.embed(tower.tokenize(["a photo of a"]))[0, 1:5]
    assert torch.equal(prompts.words, expected)
    assert torch.equal(prompts.tokens, tower.tokenize(["a photo of a class3.", "a photo of a class0."]))


def test_names_keep_their_order_where_they_repeat(tower):
    prompts = Prompts.of(tower, ["class3", "class0", "class3"], None, 2, CPU)
    assert torch.equal(prompts.tokens[0], prompts.tokens[2])
    assert prompts.tokens[:, 3].tolist() == tower.tokenize(["class3 class0 class3"])[0, 1:4].tolist()


def test_words_in_the_place_of_the_context_give_the_text_feature_of_the_prompt(tower):
    prompts = Prompts.of(tower, ["class3", "class0"], None, 2, CPU)
    words = tower.embed(tower.tokenize(["big old"]))[:, 1:3].expand(2, -1, -1)
    tokens = tower.tokenize(["big old class3.", "big old class0."])
    expected = torch.nn.functional.normalize(tower.encode(tower.embed(tokens), tokens), dim=-1)
    torch.testing.assert_close(prompts.features(tower, words), expected)


@pytest.mark.parametrize("tokens", [23, 40])
def test_a_context_that_leaves_no_room_is_refused(tokens: int, tower):
    with pytest.raises(UserError, match="take fewer"):
        Prompts.of(tower, ["class1"], None, tokens, CPU)


def test_a_word_of_two_tokens_is_refused(tower):
    with pytest.raises(UserError, match="not one token each"):
        Prompts.of(tower, ["class1"], "a photo of the.", 16, CPU)
