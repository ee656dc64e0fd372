"""Stages read off records, what each changes, and their figure."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy import stats as scipy_stats

from fewbench.benchmark.records.stages import Stages, stages_of
from fewbench.benchmark.records.store import write_record
from fewbench.benchmark.reporting.figures.stages import draw_stages
from fewbench.benchmark.reporting.pages import update_page
from fewbench.benchmark.reporting.parts import parts
from fewbench.benchmark.reporting.pivot import Field
from fewbench.benchmark.reporting.stage_effects import effect_of, effects_table
from fewbench.core.errors import UsageError, UserError

SVG = "{http://www.w3.org/2000/svg}"


def seen(recipe="supervised", meta=False, dataset="trifeature"):
    """What a description says of the weights."""
    first = {"dataset": dataset, "recipe": recipe, "external": False}
    if meta:
        first["weights_sha256"] = f"{recipe} weights"
    return {"dataset": dataset, "recipe": "pmf 5-way", "external": False, "steps": 9, "started_from": first} if meta else first


@pytest.fixture
def record(make_record):
    def make(accuracies=(0.2, 0.4, 0.6), recipe="supervised", meta=False, tune="none", data="trifeature", shots=1, width=64,
             **method):  # fmt: skip
        backbone = {"name": "conv4", "parameters": {"width": width}, "pretraining": seen(recipe, meta), "tune": tune}
        backbone["weights_sha256"] = "meta-trained" if meta else f"{recipe} weights"
        task = {"dataset": data, "shots": shots}
        return make_record(accuracies, name="pmf", method={"parameters": method}, backbone=backbone, task=task)

    return make


@pytest.mark.parametrize(
    ("recipe", "meta", "tune", "chain"),
    [
        ("supervised", False, "none", "P"),
        ("simclr", True, "head", "P>M"),
        ("none", False, "last-block", "P>F"),
        ("none", True, "full", "P>M>F"),
    ],
)
def test_stages_are_what_the_weights_have_seen_and_what_moves(record, recipe, meta, tune, chain):
    made = record(recipe=recipe, meta=meta, tune=tune, data="omniglot")
    stages = stages_of(made)
    assert stages == Stages(recipe, meta, tune if ">F" in chain else "none", "trifeature", in_domain=False)
    assert stages.chain == chain == Field.parse("stages.chain").value(made)
    assert stages_of(record()).in_domain


def test_weights_of_which_nothing_is_known(make_record):
    stages = stages_of(make_record([0.5], backbone={"pretraining": None}))
    assert (stages.pretraining, stages.trained_on, stages.in_domain) == ("none", "none", False)


def test_an_effect_is_the_mean_paired_difference(record, altered):
    generator = np.random.default_rng(0)
    base, gain = generator.random(40), generator.random(40) / 10
    effect = effect_of([(record(base * 0.8 + gain), record(base * 0.8))])
    assert effect is not None and effect.pairs == 1
    assert effect.mean == pytest.approx(gain.mean()) == effect.least == effect.most
    z = scipy_stats.t.ppf(0.975, 39)
    assert effect.half_width == pytest.approx(z * gain.std(ddof=1) / np.sqrt(40))
    # a second pair of other episodes, twice the first's: errors of the two tasks are independent
    other = (record(base * 0.8 + 2 * gain, data="omniglot"), record(base * 0.8, data="omniglot"))
    both = effect_of([(record(base * 0.8 + gain), record(base * 0.8)), other])
    assert both is not None and both.mean == pytest.approx(1.5 * gain.mean()) and both.pairs == 2
    assert both.half_width == pytest.approx(z * gain.std(ddof=1) / np.sqrt(40) * np.sqrt(1 + 4) / 2)
    # the same pair twice tells no more than once
    twice = effect_of([(record(base * 0.8 + gain), record(base * 0.8))] * 2)
    assert twice is not None and twice.half_width == pytest.approx(effect.half_width) and twice.pairs == 2
    assert effect_of([]) is None
    # nor does it under a corruption, which leaves the episodes as they are
    noise = {"corruption": {"name": "noise", "severity": 1, "version": 1, "clean_fingerprint": "0" * 64}}
    noisy = altered(record(base * 0.8 + gain), task=noise), altered(record(base * 0.8), task=noise)
    again = effect_of([(record(base * 0.8 + gain), record(base * 0.8)), noisy])
    assert again is not None and again.half_width == pytest.approx(effect.half_width)
    with pytest.raises(UserError, match="have 1 common episodes; an interval needs two"):
        effect_of([(record([0.5]), record([0.25]))])


def test_runs_that_saw_other_episodes_are_no_pair(record, altered):
    one, other = record(), altered(record(), task={"episodes_sha256": "0" * 64})
    with pytest.raises(UserError, match="saw different episodes"):
        effect_of([(one, other)])


def test_the_table_pairs_runs_that_differ_in_one_stage_alone(record):
    none, pretrained = record((0.2, 0.3, 0.4), "none"), record((0.4, 0.5, 0.6))
    meta = record((0.5, 0.6, 0.7), meta=True)
    tuned = record((0.45, 0.55, 0.65), tune="full")
    away, away_tuned = record((0.3, 0.3, 0.3), data="omniglot"), record((0.4, 0.4, 0.4), tune="full", data="omniglot")
    wider = record((0.9, 0.9, 0.9), "none", width=128)  # of another architecture: no partner
    lines = effects_table([none, pretrained, meta, tuned, away, away_tuned, wider])
    assert lines[2:] == [
        "| supervised pretraining alone, 1-shot | +20.00 ± 0.00 (+20.0 to +20.0, 1 pair) | – |",
        "| meta-training after pretraining, 1-shot | +10.00 ± 0.00 (+10.0 to +10.0, 1 pair) | – |",
        "| fine-tuning of trained weights, 1-shot | +5.00 ± 0.00 (+5.0 to +5.0, 1 pair) "
        "| +10.00 ± 0.00 (+10.0 to +10.0, 1 pair) |",
    ]
    whole = [none, meta, pretrained, record((0.3, 0.4, 0.5), "none", meta=True), record((0.3, 0.3, 0.4), "none", tune="full")]
    assert [line.split(" | ")[0] for line in effects_table(whole)[2:]] == [
        "| supervised pretraining alone, 1-shot",
        "| supervised pretraining before meta-training, 1-shot",
        "| meta-training alone, 1-shot",
        "| meta-training after pretraining, 1-shot",
        "| fine-tuning of initial weights, 1-shot",
    ]
    with pytest.raises(UserError, match="two records have the same stages"):
        effects_table([none, record((0.2, 0.3, 0.5), "none")])


def test_runs_that_differ_in_more_are_no_pair(record, altered):
    started, meta = record(), record(meta=True)
    assert len(effects_table([started, meta])) == 3
    started = altered(started, backbone={"weights_sha256": "others"})
    assert len(effects_table([started, meta])) == 2  # meta-trained from other weights
    tuned = record(tune="full", steps=10, parallel="loop")
    assert len(effects_table([tuned, record(recipe="none", tune="full", steps=10, parallel="vmap")])) == 3
    assert len(effects_table([tuned, record(recipe="none", tune="full", steps=50)])) == 2


def test_varying_shots_come_last(record):
    runs = [record(recipe=recipe, shots=shots) for recipe in ("none", "supervised") for shots in (None, 5, 1)]
    assert [line.split(" | ")[0].rpartition(", ")[2] for line in effects_table(runs)[2:]] == [
        "1-shot",
        "5-shot",
        "varying shots",
    ]


def test_a_page_has_a_block_of_effects(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, made in enumerate([record(), record((0.3, 0.5, 0.7), meta=True)]):
        write_record(made, tmp_path / f"{number}.json")
    page = tmp_path / "page.md"
    page.write_text("<!-- effects: records=*.json -->\nold\n<!-- /effects -->\nend\n", encoding="utf-8")
    assert update_page(page, parts())
    text = page.read_text(encoding="utf-8")
    assert (
        "| meta-training after pretraining, 1-shot | +10.00 ± 0.00 (+10.0 to +10.0, 1 pair) | – |" in text and "old" not in text
    )
    assert text.endswith("<!-- /effects -->\nend\n")
    page.write_text("<!-- effects: records=*.json rows=method.name -->\n<!-- /effects -->\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"effects 1: .* is not of the form records=GLOB \[where"):
        update_page(page, parts())


def test_the_figure_has_a_panel_for_each_pair_of_datasets_and_a_line_for_each_pretraining(record):
    runs = [record(recipe=recipe, meta=meta, data=data) for recipe in ("none", "supervised") for meta in (False, True)
            for data in ("trifeature", "omniglot")]  # fmt: skip
    svg = draw_stages(runs)
    texts = [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"conv4, no pretraining", "conv4, supervised pretraining", "→ omniglot", "→ trifeature", "P>M>F"} <= set(texts)
    assert texts.count("1-shot accuracy (%)") == 1
    assert svg == draw_stages(list(reversed(runs)))
    with pytest.raises(UsageError, match="two records are conv4, none pretraining, P, of trifeature → trifeature"):
        draw_stages([runs[0], runs[0]])
