from pathlib import Path

import pytest

from fewbench.benchmark.backbones.weights.description import UNTRAINED
from fewbench.benchmark.records.identity import (
    config_digest,
    configuration,
    file_safe,
    place_of,
    record_path,
    task_of,
    task_slug,
)
from fewbench.benchmark.records.record import accuracy_section
from fewbench.benchmark.records.store import load_records
from fewbench.tasks.corruptions import Corruption


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset", "cifar-fs"),
        ("dataset_version", "2"),
        ("dataset_parameters", {"size": 84}),
        ("fingerprint", "0" * 64),
        ("split", "val"),
        ("sampler", "meta-dataset"),
        ("sampler_parameters", {"alpha": 0.5}),
        ("ways", 20),
        ("shots", None),
        ("queries", 10),
        ("seed", 1),
    ],
)
def test_task_keys_differ_where_the_task_does(record, altered, key, value):
    other = altered(record, task={key: value})
    before, after = task_of(record)._asdict(), task_of(other)._asdict()
    assert [name for name in before if before[name] != after[name]] == [key]


def test_task_keys_tell_corrupted_images_apart(record, altered):
    section = {"name": "noise", "severity": 3, "version": 1, "clean_fingerprint": "0" * 64}
    keys = {task_of(altered(record, task={"corruption": {**section, "severity": s}})) for s in (3, 4)}
    assert {key.corruption for key in keys | {task_of(record)}} == {None, "noise 3", "noise 4"}
    with pytest.raises(ValueError, match=r"^task\.corruption\.version is missing$"):
        altered(record, task={"corruption": {"name": "noise", "severity": 3}})


def test_task_keys_and_paths_tell_conditions_apart(record, altered):
    tasks = [{"query_balance": 2.0}, {"query_balance": 0.5}, {"label_noise": 0.2, "noise_kind": "pair"}]
    records = [record, *(altered(record, task={"conditions": conditions}) for conditions in tasks)]
    assert [task_of(one).conditions for one in records] == [
        None, "query balance 2", "query balance 0.5", "label noise (pair flips) 0.2",
    ]  # fmt: skip
    assert len({place_of(one).parent for one in records}) == 4
    assert place_of(records[1]).parent.name.endswith("-query-balance-2")


def test_a_task_without_conditions_has_the_digest_that_it_always_had(record, altered):
    def digest(one) -> str:
        found = configuration(
            one.method, one.backbone, one.task, learns=False, initial=False, episodes=10, level=0.95, bootstrap=False
        )
        assert ("conditions" in found["task"]) == (one.task.conditions is not None)
        return config_digest(found)

    assert digest(record) != digest(altered(record, task={"conditions": {"query_balance": 2.0}}))


def test_task_keys_do_not_see_how_many_episodes_or_which_method(record, altered):
    shorter = altered(record, n_episodes=2, accuracy=accuracy_section(record.accuracies[:2]))
    other = altered(shorter, method={"name": "maml"}, task={"episodes_sha256": "1" * 64})
    assert len({task_of(record): 1, task_of(other): 2}) == 1


def test_record_path_is_made_of_the_configuration():
    digest = config_digest({"b": 1, "a": "é"})
    assert digest == config_digest({"a": "é", "b": 1}) != config_digest({"a": "é", "b": 2})
    slug = task_slug("test", "uniform", 5, 1, 15)
    assert slug == "test-5way-1shot-15query-uniform"
    path = record_path(
        Path("results"), dataset="omniglot", task_slug=slug, method="protonet", backbone="conv4", config_sha256=digest
    )
    assert path == Path("results/records/omniglot/test-5way-1shot-15query-uniform") / f"protonet-conv4-{digest[:8]}.json"


def test_config_digest_is_sha256_of_canonical_json():
    # printf '{"a":1,"b":[true]}' | sha256sum
    assert config_digest({"b": [True], "a": 1}) == "90eddf64b875cb5fa184bb12503cc7309b6ce21b175521a80bd8d83082bae604"


def test_task_slug_leaves_out_what_varies():
    assert task_slug("val", "meta-dataset", None, None, None) == "val-meta-dataset"
    assert task_slug("test", "uniform", 5, None, None, Corruption("jpeg", 2)) == "test-5way-uniform-jpeg-2"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("protonet", "protonet"),
        ("sklearn:linear_model.LogisticRegression", "sklearn-linear_model.LogisticRegression"),
        ("path/to/file.py:Class", "path-to-file.py-Class"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("C:\\new folder\\é.py", "C-new-folder-.py"),
        ("x" * 300, "x" * 60),
    ],
)
def test_names_become_safe_parts_of_a_path(name, safe):
    assert file_safe(name) == safe


def test_the_names_of_the_committed_records_follow_from_their_sections():
    folder = Path(__file__).parents[3] / "results" / "records" / "omniglot"
    records = [record for _, record in load_records(folder)[0]]
    assert records
    for record in records:
        seen = record.backbone.pretraining
        # A record without the hash is of a method that learned nothing: it could not, or it was not trained.
        learns = (True,) if "learned_sha256" in record.content["method"] else (True, False)
        said = [
            configuration(
                record.method,
                record.backbone,
                record.task,
                learns=one,
                initial=seen is not None and seen.recipe == UNTRAINED,
                episodes=record.n_episodes,
                level=record.level,
                bootstrap=record.accuracy.bootstrap is not None,
            )
            for one in learns
        ]
        assert record.config_sha256 in map(config_digest, said)
