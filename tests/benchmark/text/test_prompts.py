import json
import subprocess
import sys
from pathlib import Path

import pytest

from fewbench.benchmark.text.prompts import NAMES, PromptSet, find_prompts
from fewbench.core.errors import UsageError, UserError


def test_the_single_prompt_is_the_default():
    assert find_prompts(None, "trifeature") == find_prompts("single", "mini-imagenet")
    assert find_prompts("single", "trifeature") == PromptSet("single", ("a photo of a {}.",))
    assert find_prompts("single", "trifeature").fill("red-eyed frog") == ["a photo of a red-eyed frog."]


def test_imagenet_has_openais_prompts():
    eighty, seven = find_prompts("imagenet-80", "trifeature"), find_prompts("imagenet-7", "trifeature")
    assert (len(eighty.templates), len(seven.templates)) == (80, 7)
    assert eighty.templates[0] == "a bad photo of a {}." and eighty.templates[-1] == "a tattoo of the {}."
    assert seven.templates[0] == "itap of a {}." and seven.templates[-1] == "a photo of the small {}."


@pytest.mark.parametrize(
    ("dataset", "count", "among"),
    [
        ("mini-imagenet", 80, "a plushie {}."),
        ("tiered-imagenet", 80, "a plushie {}."),
        ("cifar-fs", 18, "a low contrast photo of the {}."),
        ("fc100", 18, "a photo of the big {}."),
        ("cub-200", 1, "a photo of a {}, a type of bird."),
        ("omniglot", 3, "a handwritten {}."),
        ("trifeature", 5, "a photo of a {}."),
        ("folder", 7, "itap of a {}."),
        ("tiny.py:Tiny", 7, "itap of a {}."),
    ],
)
def test_an_ensemble_depends_on_the_dataset(dataset, count, among):
    found = find_prompts("ensemble", dataset)
    assert found.name == "ensemble" and len(set(found.templates)) == count and among in found.templates
    assert all(template.count("{}") == 1 for template in found.templates)


def test_cifar_has_the_published_eighteen():
    # https://github.com/openai/CLIP/blob/main/data/prompts.md: nine of "a", then the same nine of "the"
    templates = find_prompts("ensemble", "fc100").templates
    assert templates[:3] == ("a photo of a {}.", "a blurry photo of a {}.", "a black and white photo of a {}.")
    assert templates[7:9] == ("a photo of a small {}.", "a photo of a big {}.")
    assert templates[9:] == tuple(text.replace("of a ", "of the ") for text in templates[:9])


def test_the_hash_is_of_the_templates_in_order(tmp_path: Path):
    (tmp_path / "one.txt").write_text("a photo of a {}.\n")
    assert find_prompts(str(tmp_path / "one.txt"), "folder").sha256 == find_prompts("single", "folder").sha256
    assert PromptSet("a", ("{} x", "{} y")).sha256 != PromptSet("a", ("{} y", "{} x")).sha256
    assert PromptSet("a", ("{} x", "{} y")).sha256 != PromptSet("a", ("{} x{} y",)).sha256


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.txt", "\ufeffa {}.\n\n  a drawing of {é} {}  \r\n"),
        ("mine.json", json.dumps(["a {}.", " a drawing of {é} {}", ""])),
        ("MINE.JSON", '["a {}.", "a drawing of {\\u00e9} {}"]'),
    ],
)
def test_a_file_has_prompts_as_json_or_as_lines(tmp_path: Path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = find_prompts(str(tmp_path / name), "trifeature")
    assert found == PromptSet(name, ("a {}.", "a drawing of {é} {}"))
    assert found.fill("fox")[1] == "a drawing of {é} fox"  # braces with something in them are text


@pytest.mark.parametrize(
    "content",
    [
        '"a {}.",\n"the {}.",\n',
        "'a {}.'\n'the {}.'\n",
        "a {},\nthe {},\n".replace("},", "}.,"),
        "[\n  'a {}.',  # first\n  'the {}.',\n]\n",
        "templates = ['a {c}.', 'the {c}.']",
        "lambda c: f'a {c}.',\nlambda c: f'the {c}.',\n",
        "a {classname}.\nthe {classname}.\n",
        "a %s.\nthe [CLASS].\n",
    ],
)
def test_lines_pasted_from_python_and_other_places_are_cleaned(tmp_path: Path, content):
    (tmp_path / "a.txt").write_text(content)
    assert find_prompts(str(tmp_path / "a.txt"), "folder").templates == ("a {}.", "the {}.")


def test_both_of_two_equal_places_are_filled(tmp_path: Path):
    (tmp_path / "a.txt").write_text("a {} photo of a {}.\n{c}, {c}\n")
    assert find_prompts(str(tmp_path / "a.txt"), "folder").fill("fox") == ["a fox photo of a fox.", "fox, fox"]


def test_one_of_several_sets_is_chosen(tmp_path: Path):
    file = tmp_path / "sets.json"
    file.write_text(json.dumps({"Mini_ImageNet": ["a {}."], "other": ["the {}."], "one": "one {c}."}))
    assert find_prompts(str(file), "mini-imagenet").templates == ("a {}.",)
    assert find_prompts(f"{file}:other", "mini-imagenet") == PromptSet("sets.json:other", ("the {}.",))
    assert find_prompts(f"{file}:one", "folder").templates == ("one {}.",)
    file.write_text('{"own": ["a {}."]}')
    assert find_prompts(str(file), "folder").templates == ("a {}.",)
    with pytest.raises(UsageError, match="it has the sets own; choose one"):
        find_prompts(f"{file}:owm", "folder")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"a {}.\n\na photo of a dog\n", "prompt 2 has no {} for the class name: a photo of a dog"),
        ("a.json", b'["a { }\\nphoto"]', "prompt 1 has no {} for the class name: a { } photo"),
        ("a.txt", b" \n\n", "it has no prompts; write one a line, such as a photo of a {}."),
        ("a.json", b"[]", "it has no prompts"),
        ("a.json", b'{"x": ["a {}"], "y": ["b {}"]}', "it has the sets x, y; choose one with --prompts FILE:SET"),
        ("a.json", b'{"x": {"y": ["a {}"]}}', 'not a JSON list of texts, such as ["a photo of a {}."'),
        ("a.txt", b"a {size} photo of a {c}.", "prompt 1 has places for several things, {c} and {size}: a {size} photo"),
        ("a.txt", b"a {} photo of a {c}.", "prompt 1 has places for several things, {c} and {}: a {} photo of a {c}."),
        ("a.json", b'["a {}", 3]', "not a JSON list of texts"),
        ("a.json", b"a {}\n", "not JSON (Expecting value"),
        ("a.json", b"[" * 200_000, "not JSON"),
        ("a.txt", b"a \xff{}\n", "not UTF-8 text (invalid start byte at byte 2)"),
        ("a.json", b"", "not JSON"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        find_prompts(str(tmp_path / name), "trifeature")
    assert str(caught.value).startswith(f"--prompts {tmp_path / name}: {says}") and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_an_unreadable_file_is_one_line(tmp_path: Path, monkeypatch, suffix):
    (tmp_path / f"a{suffix}").write_text("{}")

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"^cannot read .*Permission denied$"):
        find_prompts(str(tmp_path / f"a{suffix}"), "trifeature")


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("ensembel", "did you mean 'ensemble'? (or single, ensemble, imagenet-80, imagenet-7)"),
        ("prompts.txt", "known: ensemble, imagenet-7, imagenet-80, single"),
        ("", "known: ensemble, imagenet-7, imagenet-80, single"),
    ],
)
def test_an_unknown_name_gets_the_known_ones(text, tail, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        find_prompts(text, "trifeature")
    assert str(caught.value) == f"--prompts {text}: no such prompt set or file; {tail}"


def test_open_clip_is_imported_for_imagenets_prompts_alone():
    code = (
        "import sys; sys.modules['open_clip'] = None\n"  # importing it, which takes seconds, fails
        "from fewbench.benchmark.text.prompts import find_prompts\n"
        "[find_prompts(n, d) for n in (None, 'single', 'ensemble') for d in ('trifeature', 'omniglot', 'cub-200', 'fc100')]\n"
        "assert 'torch' not in sys.modules\n"
        "find_prompts('imagenet-7', 'trifeature')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of open_clip halted"), done.stderr


def test_every_name_is_known():
    assert [find_prompts(name, "trifeature").name for name in NAMES] == list(NAMES)
