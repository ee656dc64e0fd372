import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest

from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.pipeline.reproduction import Comparison, all_reproductions
from fewbench.benchmark.records.store import write_record
from fewbench.benchmark.reporting.leaderboard import Boards
from fewbench.benchmark.reporting.site.entries import addresses
from fewbench.benchmark.reporting.site.methods import text_of
from fewbench.benchmark.reporting.site.pages import files_of
from fewbench.core.errors import UserError

from .conftest import HOSTILE

WITHOUT_TORCH = """
import sys

sys.modules["torch"] = None  # as if it were not installed
from fewbench.benchmark.commands.main import main

main()
"""
EXTERNAL = ("https://", "http://")
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "object": "data", "image": "href"}


@dataclass
class Page(HTMLParser):
    """What a browser would find in a page."""

    path: str
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    scripts: list[dict[str, str]] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.handlers += [name for name in values if name.startswith("on")]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "a":
            self.links.append(values["href"])
        if tag == "script":
            self.scripts.append(values)
        if LOADED.get(tag) in values:
            self.loaded.append(values[LOADED[tag]])

    def handle_data(self, data):
        self.texts.append(data)

    def target(self, address: str) -> tuple[str, str]:
        """File and fragment of a link."""
        file, _, fragment = address.partition("#")
        if not file:
            return self.path, fragment
        parts = []
        for part in (PurePosixPath(self.path).parent / file).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        return "/".join(parts), fragment


def read(files: dict[str, bytes]) -> dict[str, Page]:
    pages = {}
    for name, content in files.items():
        if name.endswith(".html"):
            pages[name] = Page(name)
            pages[name].feed(content.decode())
    return pages


@pytest.fixture(scope="module")
def files(few, found, published) -> dict[str, bytes]:
    numbers = [published(), published(shots="5", accuracy="98.9")]
    comparisons = [Comparison(pipeline, run) for pipeline in all_reproductions()[:2] for run in pipeline.runs]
    return files_of(found(few, numbers), comparisons, Path("results"))


@pytest.fixture(scope="module")
def pages(files) -> dict[str, Page]:
    return read(files)


def test_text_from_records_is_text_and_nothing_else(pages):
    for page in pages.values():
        assert [script.get("src", "inside")[-9:] for script in page.scripts] == ["script.js"], page.path
        assert page.handlers == [] and all(name.endswith((".css", ".js")) or name == "data:," for name in page.loaded)
        assert any(HOSTILE in text for text in page.texts), page.path  # all name the dataset


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(pages, files):
    for page in pages.values():
        assert len(set(page.ids)) == len(page.ids), page.path
        for address in page.loaded:
            assert address == "data:," or page.target(address)[0] in files, (page.path, address)
        for address in page.links:
            if not address.startswith(EXTERNAL):
                file, fragment = page.target(address)
                assert file in files and (not fragment or fragment in pages[file].ids), (page.path, address)
    for name, content in files.items():
        assert not re.search(rb"url\((?!#)|@import|srcset|fetch\(|XMLHttp", content), name


def test_every_page_can_be_reached_from_the_first(pages, few):
    reached, waiting = set(), ["index.html"]
    while waiting:
        page = pages[waiting.pop()]
        if page.path not in reached:
            reached.add(page.path)
            waiting += [page.target(address)[0] for address in page.links if not address.startswith(EXTERNAL)]
    assert reached == set(pages)
    assert sum(path.startswith("records/") for path in reached) == len(few)
    methods = {record.method.name for record in few} | {*BUILT_IN["methods"]}
    assert sum(path.startswith("methods/") for path in reached) == len(methods)


def test_the_page_of_a_record_has_the_commands(pages, few):
    for page in (page for path, page in pages.items() if path.startswith("records/")):
        text = "".join(page.texts)
        (number,) = re.findall(r"bench rerun (\d+)\.json", text)
        assert shlex.join(few[int(number)].argv) in text
        assert few[int(number)].task.episodes_sha256 in text and few[int(number)].config_sha256 in text


def test_a_dataset_has_the_figures_that_its_records_allow(pages):
    text = "".join(pages["datasets/omniglot.html"].texts)
    assert "Accuracy against shots" in text and "Accuracy against compute" in text and "98.8" in text
    (semantic,) = (page for page in pages.values() if any("against coarsity" in text for text in page.texts))
    assert semantic.path == "datasets/mini-imagenet.html"


def test_a_method_is_explained_with_its_citation_and_parameters():
    text = text_of("protonet", [])
    assert "Snell" in text.citation and 'href="https://arxiv.org/abs/1703.05175"' in text.citation
    assert [row[0] for row in text.parameters.rows] == ["distance", "scale"] and any("prototype" in one for one in text.text)
    assert text_of("sklearn:svm.SVC", []).summary == text_of("sklearn:NAME", []).summary


@pytest.mark.parametrize("name", BUILT_IN["methods"])
def test_every_built_in_method_has_a_text(name):
    text = text_of(name, [])
    assert text.summary and text.text and bool(text.citation) == (name != "chance")


def test_the_same_records_make_the_same_bytes(few, found, files, published):
    numbers = [published(), published(shots="5", accuracy="98.9")]
    again = files_of(found(few, numbers), [], Path("results"))
    assert {name: again[name] for name in again if name != "reproductions.html"} == {
        name: files[name] for name in files if name != "reproductions.html"
    }


def test_pages_whose_names_read_alike_are_apart():
    assert addresses("x", {1: "a", 2: "A", 3: "a"}) == {1: "x/a.html", 2: "x/A~2.html", 3: "x/a~3.html"}


def test_without_records_there_is_no_site():
    with pytest.raises(UserError, match="my results has no complete record; bench run --results 'my results'"):
        files_of(Boards(()), [], Path("my results"))


def test_the_command_writes_the_site_without_torch(few, tmp_path):
    for number, record in enumerate(few[:6]):
        write_record(record, tmp_path / "records" / f"{number}.json")
    words = [sys.executable, "-c", WITHOUT_TORCH, "site", "my-site", "--results", "."]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "my-site/index.html\n")
    assert (tmp_path / "my-site" / "datasets" / "omniglot.html").is_file()
