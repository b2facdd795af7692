"""The report: every number is the CSV file's, the page needs nothing else, and a real browser opens it without complaint."""

import base64
import csv
import html.parser
import io
import json
import os
import re
import shutil
import webbrowser

import numpy as np
import pytest
from PIL import Image

from adv_networks import tables
from adv_networks.experiments import TABLES
from adv_networks.storage import pictures
from adv_networks.storage.files import write_text
from adv_networks.storage.records import Outcome, merge, read
from adv_networks.tables import by_class, report, statements
from adv_networks.training.logs import METRICS
from tests.commands.test_listing import begun
from tests.tables.test_tables import record_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Cells(html.parser.HTMLParser):
    """The page's cells: of the tables their texts and what they say of themselves by their key, of other files their texts."""

    def __init__(self, text):
        super().__init__()
        self.by_key, self.said, self.by_file, self.links, self.alternatives = {}, {}, {}, [], []
        self.file = self.into = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.alternatives.append(attributes["alt"])
        elif tag == "table":
            self.file = attributes.get("data-file")
        elif tag == "td":
            key = attributes.get("data-cell")
            self.into = self.by_key.setdefault(key, []) if key else self.by_file.setdefault(self.file, [])
            if key:
                self.said[key] = attributes
            self.into += [] if key else [""]
            self.is_cell = bool(key)

    def handle_endtag(self, tag):
        if tag == "td":
            self.into = None

    def handle_data(self, text):
        if self.into is not None and self.is_cell:
            self.into.append(text)
        elif self.into is not None:
            self.into[-1] += text


CHECKS = "target,check,outcome\nmnist-standard-cpu-s0,one,pass\nmnist-standard-cpu-s0,two,fail\n"


@pytest.fixture
def group(tmp_path):
    with pictures.written_as("svg"):  # Which takes less time than the fonts of a PDF.
        return made_group(tmp_path)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The same with its report, which the tests only read."""
    group = made_group(tmp_path_factory.mktemp("reported"))
    report.write(group, scale="cpu", runs_directory=group.parents[1] / "runs")
    return group


def made_group(place):
    """Results at scale cpu: a part of Table 1 as it comes from records, the claims on it, checks, and others with marks."""
    directory, table = place / "results" / "cpu", TABLES["1"]
    measured = zip(table.cells("cpu"), (98.98, 3.15, 0.01, 7.99, 100.0), strict=False)
    records = [
        record_of(cell, percent, key=f"cell {number}", commit="abc<def", dataset="mnist", method=cell.target.method)
        for number, (cell, percent) in enumerate(measured)
    ]
    merge(directory / "records.csv", records)
    rows = tables.make_table(table, records)
    tables.write(table, rows, directory, scale="cpu", notes=["**D1** of width 32 & more"])
    statements.write(rows, directory, scale="cpu")
    write_text(directory / "checks.csv", CHECKS)
    write_text(directory / "strong" / "checks.csv", 'check,verdict\n"PGD < FGS & ""so""",pass\n')
    workdir = place / "runs" / "mnist-standard-cpu-s0"
    begun(workdir)
    lines = [",".join(METRICS)] + [f"{step}," + ",".join(["0.5"] * (len(METRICS) - 1)) for step in (10, 20)]
    write_text(workdir / "metrics.csv", "\n".join(lines) + "\n")
    return directory


def test_every_number_is_that_of_its_csv_file(reported):
    cells = Cells((reported / "report.html").read_text())
    with (reported / "table1.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(cells.by_key) == len(lines) == 27
    for line in lines:
        key = f"table1|{line['dataset']}|{line['row']}|{line['column']}"
        text, said = cells.by_key[key], cells.said[key]
        expected = f"{float(line['measured_percent']):.2f}" if line["measured_percent"] else "–"
        assert text == [expected, f"({float(line['published_percent']):.2f})"]
        told = {
            "measured": "measured_percent",
            "low": "interval_low",
            "high": "interval_high",
            "run": "run",
            "images": "images",
        }
        told |= {"published": "published_percent", "difference": "difference", "data": "data"}
        assert {name: said.get(f"data-{name}") or "" for name in told} == {name: line[field] for name, field in told.items()}
    with (reported / "claims.csv").open() as file:
        claims = [text for line in list(csv.reader(file))[1:] for text in line]
    assert cells.by_file["claims"] == claims
    assert cells.by_file["checks"] == [text for line in CHECKS.splitlines()[1:] for text in line.split(",")]
    assert cells.by_file["strong checks"] == ['PGD < FGS & "so"', "pass"]
    assert "D1 of width 32 &amp; more" in (reported / "report.html").read_text()


def test_cells_of_one_column_in_several_metrics_are_all_shown(tmp_path):
    table = TABLES["redblue-1"]
    rows = tables.make_table(table, [], scale="cpu")
    for number, row in enumerate(rows):
        row["measured_percent"] = 10.0 * number
    tables.write(table, rows, tmp_path, scale="cpu")
    shown = Cells(report.write(tmp_path, scale="cpu", runs_directory=tmp_path / "runs").read_text()).by_key
    columns = [title for label in ("clean", "0.1", "0.25") for title in (label, f"{label}, confidence")]
    found = [shown[f"redblue-1|mnist|no regularisation|{column}"][0] for column in columns]
    assert found == [f"{10 * number}.00" for number in range(6)]


def test_page_is_whole_in_itself_and_small_and_pictures_are_beside_it(reported):
    page = (reported / "report.html").read_text()
    assert all(link.startswith("data:") for link in Cells(page).links)
    assert not re.search(r"https?:|@import|url\(|<script src", page)
    assert len(page.encode()) < 5_000_000
    assert (reported / "table1-mnist.png").read_bytes().startswith(b"\x89PNG")
    assert (reported / "table1-mnist.pdf").read_bytes().startswith(b"%PDF")
    assert (reported / "learning-mnist-clean.png").read_bytes().startswith(b"\x89PNG")


def test_curves_are_kept_and_drawn_again_where_the_runs_are_gone(run, reported, tmp_path):
    group = tmp_path / "results" / "cpu"
    shutil.copytree(reported, group)

    def drawn():
        page = (group / "report.html").read_text()
        return json.loads(re.search(r'id="curves">(.*?)</script>', page).group(1))

    with_runs = drawn()
    assert [own["y"].split(",")[0] for own in with_runs] == [
        "accuracy on clean validation images", "accuracy on validation images under PGD",
    ]  # fmt: skip
    assert with_runs[0]["series"] == [{"name": "mnist-standard-cpu-s0", "points": [[10, 50.0], [20, 50.0]]}]
    (group / "report.html").unlink()
    (group / "learning-mnist-clean.png").unlink()
    assert run("--report")[0] == 0 and drawn() == with_runs
    assert (group / "learning-mnist-clean.png").exists()
    (group / "learning.csv").write_text((group / "learning.csv").read_text().replace("50.00", "x"))
    (group / "table1.csv").unlink()  # whose pictures take longest
    code, output, error = run("--report")
    assert (code, output, error.count("\n")) == (1, "", 1) and "learning.csv: expected a step and a percentage" in error


def test_open_shows_the_page_in_a_browser(run, tmp_path, monkeypatch):
    group, shown = tmp_path / "results" / "cpu", []
    write_text(group / "checks.csv", CHECKS)
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or len(shown) == 1)
    assert run("--report", "--open") == (0, f"{group}/report.html\n", "")
    assert shown == [(group / "report.html").as_uri()]
    assert "no browser here" in run("--report", "--open")[1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("98.98", "abc"), "table1.csv line 2: expected measured_percent to be a number, found abc"),
        (lambda text: text + "1,mnist\n", "table1.csv line 29: expected the header's fields, found more or fewer"),
        (lambda text: text.replace("standard", "\udcff"), "table1.csv: expected a table, found: 'utf-8' codec"),
    ],
)
def test_damaged_table_is_one_line_for_whoever_reads_it(damage, message, run, group):
    file = group / "table1.csv"
    file.write_bytes(damage(file.read_text()).encode(errors="surrogateescape"))
    for command in ("--report", "--verify"):
        (group / "weights").mkdir(exist_ok=True)
        code, output, error = run(command)
        assert (code, output, error.count("\n")) == (1, "", 1) and message in error
    assert re.search(r"^  1 +damaged", run("--list")[1], re.MULTILINE)


def test_nothing_to_report_is_one_line(run):
    code, output, error = run("--report", "--scale=tiny")
    assert (code, output, error.count("\n")) == (1, "", 1) and "expected tables to report, found none" in error


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[pytest.param(1300, id="desktop"), pytest.param(390, id="phone", marks=pytest.mark.slow)])
def opened(request, browser, reported):
    """The page in a real browser, of that width, and what it has written to the console."""
    page = browser.new_page(viewport={"width": request.param, "height": 800}, has_touch=request.param < 600)
    page.messages = []
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("pageerror", lambda error: page.messages.append(str(error)))
    page.goto(f"file://{reported}/report.html")
    yield page
    page.close()


def test_in_a_browser_headings_sort_filters_filter_and_cells_tell(opened, reported):
    page = opened
    with (reported / "table1.csv").open() as file:
        lines = {(line["row"], line["column"]): line for line in csv.DictReader(file)}
    rows = "section:not([hidden]) table[data-name=table1] tbody tr:not([hidden])"

    def column(name):
        texts = page.locator(f"{rows} > th").all_inner_texts()
        cells = page.locator(f"{rows} > td[data-cell$='|{name}'] ").all_inner_texts()
        return texts, [cell.split()[0] for cell in cells]

    labels, numbers = column("PGD")
    percents = [lines[label, "PGD"]["measured_percent"] for label in labels]
    assert numbers == [f"{float(percent):.2f}" if percent else "–" for percent in percents] and "0.01" in numbers
    page.locator("th", has_text=re.compile(r"^method")).first.click()
    assert column("PGD")[0] == sorted(labels, key=str.lower, reverse=True)
    page.locator("th", has_text=re.compile(r"^method")).first.click()
    assert column("PGD")[0] == sorted(labels, key=str.lower)
    page.fill("#filter", "network")
    assert column("PGD")[0] == ["adversarial network (C)"]
    page.fill("#filter", "")
    cell = page.locator("td[data-cell='table1|mnist|standard (A)|FGS']")
    cell.click()
    told = page.locator("#tip").inner_text()
    line = lines["standard (A)", "FGS"]
    expected = (f"{line['interval_low']} to {line['interval_high']}", line["published_percent"], line["run"], "abc<def", "two")
    assert all(text in told for text in expected) and "1 of 2 passed" in told
    before = cell.evaluate("cell => getComputedStyle(cell).backgroundColor")
    page.select_option("#colour", "accuracy")
    assert cell.evaluate("cell => getComputedStyle(cell).backgroundColor") != before
    page.locator("#tabs button", has_text="Checks").click()
    checks = "section:not([hidden]) table[data-file=checks] tbody tr:not([hidden])"
    assert page.locator(checks).count() == 2
    page.select_option("#verdict", "fail")
    assert page.locator(checks).count() == 1 and "two" in page.locator(checks).inner_text()
    page.locator("#tabs button", has_text="Claims").click()
    assert page.locator("section:not([hidden]) table[data-file=claims] tbody tr:not([hidden])").count() > 10
    page.locator("#tabs button", has_text="Curves").click()
    chart = page.locator("section:not([hidden]) .chart").first
    assert chart.locator("canvas").count() == 1
    name = chart.locator(".u-series", has_text="mnist-standard-cpu-s0")
    name.locator("th").click()
    assert "u-off" in name.get_attribute("class")
    # No wider than the window: what is wider scrolls in a frame of its own.
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.messages == []


def test_browser_opens_it_within_two_seconds(opened):
    # From the start of the navigation until all was loaded; on a machine with other work it takes its turn.
    milliseconds = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < milliseconds < 2_000 * max(1, os.getloadavg()[0] / os.cpu_count())
    assert "98.98" in opened.content() and opened.messages == []


@pytest.mark.slow
def test_tables_of_other_seeds_are_on_the_page_too_and_those_of_other_settings_have_their_own(run, group):
    table = TABLES["1"]
    for directory, seed, percent in ((group / "seed1", 1, 97.25), (group.with_name("cpu-steps=1500"), 0, 12.75)):
        options = dict(steps=1500) if "steps" in directory.name else {}
        record = record_of(table.cells("cpu", seed=seed, **options)[0], percent)
        with pictures.written_as("svg"):
            tables.write(table, tables.make_table(table, [record], seed=seed, **options), directory, scale="cpu")
        write_text(directory / "claims.csv", f"claim,measured\nclaim of {directory.name},holds\n")
        Image.new("RGB", (2, 2)).save(directory / "perturbations.png")
    assert run("--report") == (0, f"{group}/report.html\n", "")
    page = (group / "report.html").read_text()
    cells, key = Cells(page), "mnist|standard (A)|No Noise"
    assert cells.by_key[f"table1|{key}"][0] == "98.98" and cells.by_key[f"seed1 table1|{key}"][0] == "97.25"
    assert tables.heading(table) + " (seed1)</h2>" in page and cells.by_file["seed1 claims"] == ["claim of seed1", "holds"]
    assert (group / "seed1" / "table1-mnist.png").read_bytes().startswith(b"\x89PNG")
    assert any("(seed1 perturbations)" in text for text in cells.alternatives) and "table1-mnist" not in str(cells.alternatives)
    assert "12.75" not in page and "cpu-steps=1500" not in page
    assert run("--report", "--steps=1500")[:2] == (0, f"{group}-steps=1500/report.html\n")
    assert Cells((group.with_name("cpu-steps=1500") / "report.html").read_text()).by_key[f"table1|{key}"][0] == "12.75"


def test_classes_and_galleries_are_shown_and_outcomes_of_images_are_not(run, group):
    records = read(group / "records.csv")[:2]
    (group / "table1.csv").unlink()  # whose picture takes longest
    rng = np.random.default_rng(0)
    right, labels = {record.key: rng.random(500) < 0.7 for record in records}, rng.integers(0, 10, 500)
    merge(group / "outcomes.csv", [Outcome.of(key, own) for key, own in right.items()], Outcome)
    shutil.rmtree(group.parents[1] / "runs")  # whose curves another test draws
    table = TABLES["1"]
    with pictures.written_as("svg"):
        by_class.write(table, by_class.make_rows(table.cells("cpu"), records, right, {"mnist": labels}), group)
    images = rng.random((2, 4, 4, 1), np.float32)
    picture = pictures.perturbations(images, {"G": images}, 0.1, [["seen as 1", "seen as 2"]] * 2)
    pictures.save_for_print(picture, group / "table5-mnist-gallery")
    assert run("--report")[0] == 0
    page = (group / "report.html").read_text()
    cells = Cells(page)
    with (group / "table1-classes.csv").open() as handle:
        lines = list(csv.reader(handle))[1:]
    assert cells.by_file["table1-classes"] == [text for line in lines for text in line] and len(lines) == 20
    assert "outcomes" not in cells.by_file
    embedded = [base64.b64decode(link.partition(",")[2]) for link in cells.links if link.startswith("data:image/png")]
    embedded = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int) for data in embedded]
    for name in ("table1-mnist-classes", "table5-mnist-gallery"):
        whole = np.asarray(Image.open(group / f"{name}.png").convert("RGB"), int)
        differences = [np.abs(own - whole).mean() for own in embedded if own.shape == whole.shape]
        assert min(differences) < 2, name  # of 255: the page has them in fewer colours
    assert len(page.encode()) < 5_000_000
