"""Pipelines on a dataset of noise: what is done, what is not done again, and what passes from stage to stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fewbench.benchmark import training
from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, weights_sha256, write_checkpoint
from fewbench.benchmark.pipeline.running import Call, Finished, carry_out_pipeline, describe
from fewbench.benchmark.training.recipes.supervised import Supervised
from fewbench.core.errors import UserError
from fewbench.methods.metric.protonet import ProtoNet

PRETRAIN = """
[pretrain]
epochs = 1
batch-size = 60
[pretrain.set]
"backbone.width" = 8
"""
TRAIN = """
[train]
ways = 4
queries = 3
steps = 4
validate-every = 2
val-episodes = 20
"""
RUN = """
[[run]]
queries = 5
episodes = 70
[[run]]
method = "finetune"
queries = 5
episodes = 70
[run.set]
steps = 3
"""
RUN_BEFORE = RUN.replace('method = "finetune"', 'method = "finetune"\nafter = "pretrain"')


def paths(finished: Finished) -> list[Path]:
    return [*(stage.path for stage in finished.trained if stage.path), *(outcome.path for outcome in finished.outcomes)]


def test_each_stage_takes_what_the_one_before_it_made(read, call: Call):
    finished = carry_out_pipeline(read(PRETRAIN + TRAIN + RUN), call)
    pretrained, trained, proto, finetuned = paths(finished)
    about = read_checkpoint(trained).description
    assert about is not None
    assert about.pretraining.started_from.weights_sha256 == weights_sha256(pretrained)
    assert about.backbone_parameters == {"width": 8}  # said by the pretraining alone
    records = [outcome.record for outcome in finished.outcomes]
    assert {record.backbone.weights_sha256 for record in records} == {weights_sha256(trained)}
    assert [record.method.name for record in records] == ["protonet", "finetune"]
    assert [stage.state for stage in finished.trained] == ["trained", "trained"]
    assert proto.is_file() and finetuned.is_file()


def test_without_meta_training_runs_take_the_pretrained_weights(read, call: Call):
    finished = carry_out_pipeline(read(PRETRAIN + RUN), call)
    pretrained, *_ = paths(finished)
    assert {outcome.record.backbone.weights_sha256 for outcome in finished.outcomes} == {weights_sha256(pretrained)}


def test_a_run_may_take_what_was_there_before_meta_training(read, call: Call, tiny_weights: Path):
    finished = carry_out_pipeline(read(PRETRAIN + TRAIN + RUN_BEFORE), call)
    pretrained, trained, *_ = paths(finished)
    assert [outcome.record.backbone.weights_sha256 for outcome in finished.outcomes] == [
        weights_sha256(trained),
        weights_sha256(pretrained),
    ]
    # Weights of elsewhere stand in for what P makes.
    elsewhere = carry_out_pipeline(
        read(TRAIN + '[[run]]\nafter = "pretrain"\nepisodes = 20\nqueries = 5', str(tiny_weights)), call
    )
    assert elsewhere.outcomes[0].record.backbone.weights_sha256 == weights_sha256(tiny_weights)


def test_weights_of_elsewhere_are_meta_trained(read, call: Call, tiny_weights: Path):
    (trained,) = paths(carry_out_pipeline(read(TRAIN, str(tiny_weights)), call))
    about = read_checkpoint(trained).description
    assert about is not None and about.pretraining.started_from.weights_sha256 == weights_sha256(tiny_weights)


def test_what_is_there_is_not_made_again_and_a_change_repeats_what_depends_on_it(read, call: Call, listener):
    first = paths(carry_out_pipeline(read(PRETRAIN + TRAIN + RUN), call))
    again = type(listener)()
    second = carry_out_pipeline(read(PRETRAIN + TRAIN + RUN), replace(call, progress=again))
    assert paths(second) == first and again.bars == [] and all(outcome.reused for outcome in second.outcomes)
    assert [line.split(",")[0] for line in again.said if "done already" in line] == [
        "pretrain: done already",
        "train: done already",
        "run: done already",
        "run: done already",
    ]
    third = carry_out_pipeline(read(PRETRAIN + TRAIN + RUN.replace("steps = 3", "steps = 2")), call)
    assert paths(third)[:3] == first[:3] and paths(third)[3] != first[3]
    assert [outcome.reused for outcome in third.outcomes] == [True, False]
    fourth = carry_out_pipeline(read(PRETRAIN + TRAIN.replace("steps = 4", "steps = 2") + RUN), call)
    assert [stage.state for stage in fourth.trained] == ["done already", "trained"]
    assert not set(paths(fourth)[1:]) & set(first)
    fifth = carry_out_pipeline(read(PRETRAIN + TRAIN + RUN), call)  # the first is still there
    assert paths(fifth) == first and all(stage.state == "done already" for stage in fifth.trained)


def test_another_version_is_another_stage(read, call: Call, monkeypatch: pytest.MonkeyPatch):
    (before,), (trained,) = describe(read(PRETRAIN), call), describe(read(TRAIN), call)
    monkeypatch.setattr(Supervised, "version", "2")
    assert describe(read(PRETRAIN), call)[0].path != before.path and describe(read(TRAIN), call)[0].path == trained.path
    monkeypatch.setattr(ProtoNet, "version", "2")
    assert describe(read(TRAIN), call)[0].path != trained.path


def test_a_plug_in_counts_with_its_code(read, call: Call, tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("from fewbench.methods.metric.protonet import ProtoNet\n\n\nclass Mine(ProtoNet):\n    pass\n", "utf-8")
    text = f'[train]\nmethod = "{file}:Mine"\nways = 4\nqueries = 3\n'
    (before,) = describe(read(text), call)
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(file.read_text(encoding="utf-8") + "    power = 2\n", encoding="utf-8")
    (after,) = describe(read(text.replace(str(file), str(other))), call)
    assert before.path != after.path


def test_the_address_is_of_the_weights_content_not_of_their_name(read, call: Call, tiny_weights: Path, tmp_path: Path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(tiny_weights.read_bytes())
    (one,), (two,) = (describe(read(TRAIN, str(path)), call) for path in (tiny_weights, copy))
    assert one.path == two.path is not None
    (three,) = describe(read(TRAIN), call)
    assert three.path != one.path


def with_mean(weights: Path, other: Path) -> None:
    """Write the same weights with another normalisation of images."""
    checkpoint = read_checkpoint(weights)
    assert checkpoint.description is not None
    preprocess = replace(checkpoint.description.preprocess, mean=(0.25, 0.5, 0.5))
    write_checkpoint(other, checkpoint.tensors, replace(checkpoint.description, preprocess=preprocess))


def test_the_address_knows_normalisation_and_the_version_of_the_training(read, call: Call, tiny_weights: Path, monkeypatch):
    (one,) = describe(read(TRAIN, str(tiny_weights)), call)
    other = tiny_weights.with_name("other.safetensors")
    with_mean(tiny_weights, other)
    (two,) = describe(read(TRAIN, str(other)), call)
    monkeypatch.setattr(training, "VERSION", "2")
    (three,) = describe(read(TRAIN, str(tiny_weights)), call)
    assert len({one.path, two.path, three.path}) == 3


def test_initial_weights_under_another_normalisation_are_another_run(read, call: Call, tmp_path: Path):
    text = PRETRAIN.replace("epochs = 1", "epochs = 0") + "[[run]]\nepisodes = 20\nqueries = 5\n"
    weights, run = paths(carry_out_pipeline(read(text), call))
    with_mean(weights, weights)
    (elsewhere,) = describe(read("[[run]]\nepisodes = 20\nqueries = 5\n", str(weights)), call)
    assert elsewhere.path != run


def test_a_choice_is_made_whatever_the_time_limit_and_kept(read, call: Call, listener):
    text = PRETRAIN + '[[run]]\nmethod = "pmf"\ntune = "norm"\nqueries = 5\nepisodes = 10\n[run.set]\nsteps = 1\n'
    carry_out_pipeline(replace(read(text), runs=()), call)
    with pytest.raises(UserError, match=r"interrupted after [1-9] of 10 episodes; the same command goes on"):
        carry_out_pipeline(read(text), replace(call, time_limit=1e-6))
    again = type(listener)()
    finished = carry_out_pipeline(read(text), replace(call, progress=again))
    assert not any("choosing" in bar for bar, *_ in again.bars)
    assert finished.outcomes[0].record.method.chosen.split == "val"


def test_a_description_of_what_would_be_done(read, call: Call):
    pipeline = read(PRETRAIN + TRAIN + RUN)
    assert [(stage.state, stage.path is None) for stage in describe(pipeline, call)] == [
        ("trains", False),
        ("trains", True),
        ("runs", True),
        ("runs", True),
    ]
    assert not call.results.exists()
    done = paths(carry_out_pipeline(pipeline, call))
    assert [(stage.state, stage.path) for stage in describe(pipeline, call)] == [("done already", path) for path in done]
    done[2].unlink()
    assert [stage.state for stage in describe(pipeline, call)] == ["done already", "done already", "runs", "done already"]


def test_damaged_weights_are_made_again(read, call: Call):
    pipeline = read(PRETRAIN)
    (path,) = paths(carry_out_pipeline(pipeline, call))
    before, whole = weights_sha256(path), path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert carry_out_pipeline(pipeline, call).trained[0].state == "trained" and weights_sha256(path) == before


def test_the_time_limit_holds_for_all_stages_and_the_same_call_goes_on(read, call: Call):
    pipeline = read(PRETRAIN + TRAIN + RUN)
    undisturbed = paths(carry_out_pipeline(pipeline, replace(call, results=call.results / "undisturbed")))
    short = replace(call, time_limit=1e-6)
    with pytest.raises(UserError, match="stopped by --time-limit after 1 of 6 steps; the same command goes on"):
        carry_out_pipeline(pipeline, short)
    assert describe(pipeline, call)[0].state == "goes on"
    carry_out_pipeline(replace(pipeline, runs=()), call)
    with pytest.raises(UserError, match="stopped by --time-limit; interrupted"):
        carry_out_pipeline(pipeline, short)
    finished = paths(carry_out_pipeline(pipeline, call))
    assert [weights_sha256(path) for path in finished[:2]] == [weights_sha256(path) for path in undisturbed[:2]]


def test_weights_of_a_hub_out_of_reach_name_the_file_to_fetch(
    read, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    text = 'backbone = "timm:vit_small_patch16_224.dino"\nweights = "timm/vit_small_patch16_224.dino"\n' + TRAIN
    file = "timm/vit_small_patch16_224.dino/resolve/main/model.safetensors"
    with pytest.raises(UserError, match=rf"download .*{file} where there is a network, and pass it with --weights FILE"):
        carry_out_pipeline(read(text), call)


def test_weights_without_a_description_keep_what_was_said_of_their_images(read, call: Call, tmp_path: Path):
    """As the recipe with Meta-Dataset's episodes has it: varying ways, a ViT at a size that is not its own."""
    import timm
    from safetensors.torch import save_file

    bare = tmp_path / "bare.safetensors"
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), bare)
    text = """
backbone = "timm:test_vit"
[train]
method = "pmf"
sampler = "meta-dataset"
shots = 1
steps = 1
val-queries = 1
val-episodes = 2
[train.set]
"backbone.dynamic_img_size" = true
"backbone.size" = 32
"sampler.max_ways" = 6
"sampler.max_support" = 10
[[run]]
method = "pmf"
tune = "none"
sampler = "meta-dataset"
episodes = 2
"""
    finished = carry_out_pipeline(read(text, str(bare)), call)
    trained, *_ = paths(finished)
    about = read_checkpoint(trained).description
    assert about is not None
    assert about.preprocess.size == 32 and about.backbone_parameters == {"dynamic_img_size": True}
    assert about.made_by.config is not None
    assert about.made_by.config["settings"]["backbone.size"] == 32  # another size is another training
    record = finished.outcomes[0].record
    assert record.method.learned_sha256 == weights_sha256(trained) and record.backbone.preprocess.size == 32
