from pathlib import Path

import pytest

from fewbench.benchmark import registry
from fewbench.benchmark.config import RunConfig
from fewbench.benchmark.evaluation.plan import make_method
from fewbench.benchmark.pipeline.recipe import Recipe, all_recipes, load, names
from fewbench.benchmark.pipeline.reproducing import run_config
from fewbench.benchmark.training.meta.train_config import TrainConfig
from fewbench.core.errors import UsageError, UserError

SHIPPED = all_recipes()


def test_the_omniglot_table_and_conv4_on_mini_imagenet_are_listed():
    of_omniglot = ("protonet", "maml", "fomaml", "matching-net", "relation-net", "r2d2")
    assert {f"{method}-omniglot" for method in of_omniglot} <= set(names())
    assert {f"{method}-mini-imagenet-{shots}shot" for method in ("protonet", "maml") for shots in (1, 5)} <= set(names())


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_a_shipped_recipe_names_what_exists_and_enough_test_episodes(recipe: Recipe):
    method, _ = make_method(recipe.train.method, recipe.train.settings_of("method"))
    assert method.meta_trained and registry.knows("datasets", recipe.train.dataset)
    assert registry.knows("backbones", recipe.train.backbone)
    for evaluation in recipe.evaluations:
        config = run_config(recipe, evaluation, Path("results"), "cpu", False)
        assert isinstance(config, RunConfig) and config.split == "test"
        assert evaluation.episodes >= (600 if recipe.train.method == "pmf" else 1000)  # of which each is fine-tuned for seconds
        assert evaluation.dataset is None or registry.knows("datasets", evaluation.dataset)
        make_method(recipe.train.method, {**recipe.train.settings_of("method"), **evaluation.settings})
        if recipe.train.method in ("maml", "fomaml"):
            assert evaluation.ways == recipe.train.ways


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_a_shipped_recipe_leaves_no_default_of_the_training_that_may_change(recipe: Recipe):
    shape = {"shots"} if recipe.train.sampler == "meta-dataset" else {"ways", "shots", "queries"}
    assert {*shape, "meta_batch", "steps", "optimizer", "learning_rate", "schedule"} <= recipe.stated.keys()
    assert recipe.train.schedule != "step" or recipe.train.halve_every is not None


def test_a_file_becomes_options(recipes: Path):
    recipe = load("quick")
    assert recipe.train == TrainConfig(
        "protonet",
        recipe.train.dataset,
        ways=4,
        queries=3,
        steps=4,
        halve_every=2,
        validate_every=2,
        val_episodes=20,
        precision="fp32",
        settings={"backbone.width": 8},
    )
    one, two = recipe.evaluations
    assert (one.ways, one.shots, one.published, one.interval) == (5, 1, 40.0, 3.0)
    assert (two.shots, two.published, two.task) == (2, None, "5-way 2-shot, 5 queries")
    assert recipe.checkpoint(Path("r")) == Path("r/checkpoints/quick.safetensors")


def test_a_description_is_of_a_recipe_where_all_that_it_states_is_the_same(recipes: Path):
    recipe = load("quick")
    config = {**recipe.stated, "device": "cuda", "seed": 0, "settings": {"backbone.width": 8, "distance": "euclidean"}}
    assert recipe.made({"made_by": {"config": config}})
    assert not recipe.made({"made_by": {"config": {**config, "steps": 5}}})
    assert not recipe.made({"made_by": {"config": {**config, "settings": {"backbone.width": 16}}}})
    assert not recipe.made({"made_by": {"config": {**config, "settings": {}}}})
    assert not recipe.made({})


def test_an_unknown_recipe_gets_the_nearest(recipes: Path):
    with pytest.raises(UsageError, match=r"unknown recipe 'quik'; did you mean 'quick'\?"):
        load("quik")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("summary", "sumary", "summary is missing or not text"),
        ("steps = 4", "stebs = 4", r"\[train\]: unknown key 'stebs'; did you mean 'steps'"),
        ("steps = 4", 'steps = "many"', "steps = 'many' is of the wrong type"),
        ("steps = 4", 'device = "cpu"', r"\[train\]: 'device' has no place here"),
        ('method = "protonet"', "", r"\[train\] lacks method"),
        ("ways = 5\n", "", r"\[\[evaluation\]\] lacks ways"),
        ("published", "publisht", "unknown key 'publisht'; did you mean 'published'"),
        ("[[evaluation]]", "[[evaluations]]", "has no place for evaluations"),
        ("[[evaluation]]", '[[evaluation]]\nsampler = "meta-dataset"', "has ways that vary"),
        ("[train]", "[pretrain]\nepochs = 1\n[train]", r"\[pretrain\] lacks dataset"),
        ("[train]", 'weights = "w"\n[pretrain]\n[train]', r"weights and \[pretrain\] both"),
        ("[train]", 'after = "slow"\n[train]', r"after names another recipe, in place of weights and \[pretrain\]"),
        ("[train]", 'after = "quick"\nweights = "w"\n[train]', r"after names another recipe, in place of weights"),
        ("budget", "budget = ", "is not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(old: str, new: str, says: str, recipes: Path):
    path = recipes / "quick.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=says) as caught:
        load("quick")
    assert "\n" not in str(caught.value) and "quick.toml" in str(caught.value)
