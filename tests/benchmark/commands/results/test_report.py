"""`bench report`: one page from records whose answers were kept, and one line where something is missing."""

import base64
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.evaluation.rerun import Where
from fewbench.benchmark.records.predictions import predictions_path
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.reporting.report.subject import Subject, subject_of
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.episodes import ABSENT

SECTIONS = ["Summary", "Classes", "Confusions", "Calibration", "Visual hardness", "The worst tenth"]


@pytest.fixture(scope="module")
def folder(tiny: str, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    common = {"dataset": tiny, "weights": str(tiny_weights), "queries": 5, "episodes": 60, "device": "cpu", "results": results}
    for method in ("protonet", "ridge"):
        run(RunConfig(method=method, keep_predictions=True, **common))
    run(RunConfig(method="protonet", split="val", keep_predictions=True, **common))
    run(RunConfig(method="protonet", sampler="meta-dataset", keep_predictions=True, **common))
    run(RunConfig(method="simpleshot", **common))
    return results


@pytest.fixture
def record(folder: Path) -> Callable[[str], Path]:
    def find(name: str, task: str = "test-5way") -> Path:
        return next(path for path in folder.glob(f"records/*/{task}*/{name}-*.json"))

    return find


@pytest.fixture
def report(tiny: str, tiny_weights: Path, tmp_path: Path) -> Callable[..., str]:
    """A function that runs the command and gives what it printed, or the error that ends it."""

    def written(*records: Path, output: str = "report.html", weights: object = tiny_weights, dataset: str = tiny) -> str:
        words = [*records, "--output", tmp_path / output, "--weights", weights, "--dataset", dataset]
        done = CliRunner().invoke(app, ["report", *map(str, words)])
        if isinstance(done.exception, UserError):
            return str(done.exception)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    return written


def test_one_html_file_has_every_section_and_needs_no_other_file(record, report, tmp_path: Path):
    assert report(record("protonet")) == f"{tmp_path / 'report.html'}\n"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall("<h2>(.*?)</h2>", page) == SECTIONS
    assert not re.findall(r'(?:src|href)="(?!data:|#|https://arxiv)', page)
    pictures = re.findall('src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 3 and all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)
    ids = re.findall(' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 10
    report(record("protonet"))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page  # the same record, the same page


def test_several_runs_stand_beside_each_other(record, report, tmp_path: Path):
    report(record("protonet"), record("ridge"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    worst = [f"The worst tenth: {name}, conv4 (width=8)" for name in ("protonet", "ridge")]
    assert re.findall("<h2>(.*?)</h2>", page) == [*SECTIONS[:-1], *worst]
    assert "Reliability: ridge, conv4 (width=8)" in page


def test_markdown_has_its_pictures_beside_it(record, report, tmp_path: Path):
    report(record("protonet", "test-meta"), output="page.md")
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert re.findall("^## (.*)", text, re.MULTILINE) == SECTIONS
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert sorted(links) == sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "page-files").iterdir())
    assert Image.open(tmp_path / next(link for link in links if link.endswith(".png"))).width > 300


def test_what_is_missing_is_one_line(record, report, tmp_path: Path, folder: Path):
    plain = record("simpleshot")
    assert report(plain) == f"{plain} has no predictions; repeat its run with --keep-predictions"
    assert "end the name in .html or .md" in report(record("protonet"), output="report.pdf")
    val = next(folder.glob("records/*/val*/*.json"))
    assert re.search("are of other images; write a report of each$", report(record("protonet"), val))
    assert "nowhere.safetensors" in report(record("protonet"), weights="nowhere.safetensors")
    assert not list(tmp_path.iterdir())


def test_damaged_predictions_are_one_line(record, report, tmp_path: Path):
    path = tmp_path / "copy" / record("protonet").name
    for one in record("protonet").parent.glob("protonet*"):
        path.parent.mkdir(exist_ok=True)
        shutil.copy(one, path.parent)
    (file,) = path.parent.glob("*.npz")
    file.write_bytes(file.read_bytes()[:-9])
    assert "is damaged: its SHA-256 is not that of its record; repeat its run with --keep-predictions" in report(path)
    file.unlink()
    assert "names predictions that are not beside it" in report(path)


def test_a_dataset_that_is_not_there_is_one_line(record, report, tmp_path: Path):
    assert "no-such.py" in report(record("protonet"), dataset=f"{tmp_path}/no-such.py:Tiny")


@pytest.fixture
def subject(record, tiny: str, tiny_weights: Path, tmp_path: Path) -> Callable[[str], Subject]:
    where = Where({"weights": str(tiny_weights), "dataset": tiny}, tmp_path)
    return lambda task: subject_of(record("protonet", task), where, SILENT)


@pytest.mark.parametrize("task", ["test-5way", "test-meta"])
def test_the_hardness_of_a_query_is_that_of_the_paper(subject, task: str):
    found = subject(task)
    episode, answers = found.answered(7)
    features = torch.from_numpy(np.array(found.table.features))
    asked = episode.query_labels[0] != ABSENT
    expected = []
    for row, label in zip(episode.query[0][asked], episode.query_labels[0][asked], strict=True):
        support, labels = episode.support[0], episode.support_labels[0]
        angles = []
        for one in range(episode.classes.shape[1]):
            mean = features[support[labels == one]].mean(dim=0)
            angles.append(float(torch.acos(torch.nn.functional.cosine_similarity(features[row], mean, dim=0))))
        expected.append(angles[label] / sum(angles))
    first, last = found.found.starts[7:9]
    np.testing.assert_allclose(found.hardness[first:last], expected, atol=2e-4)
    assert answers.credit.mean() == pytest.approx(found.record.accuracies[7])


@pytest.mark.parametrize("task", ["test-5way", "test-meta"])
def test_confusions_are_those_of_the_episodes(subject, task: str):
    found = subject(task)
    asked, taken = np.zeros((12, 12), int), np.zeros((12, 12), int)
    for index in range(len(found.found)):
        first, last = found.found.starts[index : index + 2]
        classes = found.task.episode(index).classes[0]
        for true, predicted in zip(found.found.true[first:last], found.found.predicted[first:last], strict=True):
            asked[true, [other for other in classes if other != true]] += 1
            taken[true, predicted] += true != predicted
    np.testing.assert_array_equal(found.confusions.asked, asked)
    np.testing.assert_array_equal(found.confusions.taken, taken)
    assert (found.confusions.together == found.confusions.together.T).all()


def test_predictions_of_other_queries_are_told(record, subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import fewbench.benchmark.reporting.report.subject as module

    def turned(path: Path, record: RunRecord):
        from dataclasses import replace

        from fewbench.benchmark.records.predictions import load_predictions

        found = load_predictions(path, record)
        return replace(found, row=np.roll(found.row, 1))

    monkeypatch.setattr(module, "load_predictions", turned)
    with pytest.raises(UserError, match="are of other queries than its episodes have"):
        subject("test-5way")
    assert predictions_path(record("protonet"), "0" * 64).suffix == ".npz"


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_a_browser_shows_it_without_a_network_and_without_serious_faults(
    record, report, tmp_path: Path, width: int, scheme: str
):
    axe = pytest.importorskip("axe_playwright_python.base", reason="pip install axe-playwright-python")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("no chromium: apt-get install chromium")
    report(record("protonet"), record("ridge"))
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])  # which root needs
        page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "report.html").as_uri())
        assert all(url.startswith(("file:", "data:")) for url in asked)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(axe.AXE_SCRIPT)
        found = page.evaluate("axe.run()")["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        browser.close()
