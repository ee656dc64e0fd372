"""What a pipeline refuses before its first stage."""

import pytest

from fewbench.benchmark.pipeline.running import Call, carry_out_pipeline, describe
from fewbench.core.errors import UsageError, UserError

SMALL = '[pretrain]\n[pretrain.set]\n"backbone.width" = 8\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[train]\nmethod = "finetune"\n', r"method finetune is not meta-trained; .*protonet"),
        ("[train]\nways = 50\n", r"--ways 50: "),
        ('[train]\nsampler = "unifrom"\n', "unknown sampler 'unifrom'"),
        ('[train]\noptimizer = "adamm"\n', "unknown optimizer 'adamm'"),
        ('[pretrain]\n[pretrain.set]\n"backbone.widht" = 3\n', "backbone conv4 has no parameter 'widht'"),
        ("[pretrain]\n[[run]]\nways = 50\n", r"--ways 50: "),
        ('[pretrain]\n[[run]]\nmethod = "pmf"\nprecision = "bf16"\n', "--precision bf16: pmf works on images"),
        ('[pretrain]\n[[run]]\nmethod = "pmf"\nsplit = "val"\n', "learning_rate=auto is chosen on val episodes, which"),
        ('[[run]]\nmethod = "feat"\n', r"\[\[run\]\]: method feat has to be trained; add \[train\]"),
        ('[train]\n[[run]]\nmethod = "feat"\n', r"\[\[run\]\]: method feat has to be trained; add \[train\]"),
        ('[pretrain]\n[[run]]\ntune = "full"\n', "--tune full: protonet trains nothing on the support"),
        ("[pretrain]\n[[run]]\n[run.set]\npower = 3\n", "method protonet has no parameter 'power'"),
        ('[pretrain]\n[[run]]\nmethod = "protonett"\n', "unknown method 'protonett'; did you mean 'protonet'"),
        ('[pretrain]\n[[run]]\nsplit = "tests"\n', "tests"),
        ('[pretrain]\n[[run]]\nsampler = "unifrom"\n', "unknown sampler 'unifrom'"),
        ('[pretrain]\n[pretrain.set]\n"recipe.power" = 3\n', "recipe supervised has no parameter 'power'"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_stage(read, call: Call, text: str, says: str):
    with pytest.raises(UsageError, match=says):
        carry_out_pipeline(read(text), call)
    assert not call.results.exists()


@pytest.mark.parametrize("do", [carry_out_pipeline, describe])
def test_a_network_without_a_place_for_prompts_is_not_trained_first(read, call: Call, do):
    pipeline = read(SMALL + '[train]\nways = 4\n[[run]]\nmethod = "pmf"\ntune = "prompt"\n[run.set]\nlearning_rate = "0.01"\n')
    with pytest.raises(UserError, match="--tune prompt: the backbone is no ViT"):
        do(pipeline, call)
    assert not call.results.exists()


def test_what_a_network_with_a_text_tower_has_is_that_of_its_images(read, call: Call):
    clip = 'backbone = "clip-tiny"\n[pretrain]\nrecipe = "clip"\nbatch-size = 60\n[[run]]\nmethod = "finetune"\n'
    assert [stage.state for stage in describe(read(clip + 'tune = "last-block"\n'), call)] == ["trains", "runs"]
    with pytest.raises(UserError, match="--tune prompt: the backbone is no ViT"):
        describe(read(clip + 'tune = "prompt"\n'), call)
