"""The report: every number is the CSV file's, the page needs nothing else, and a real browser opens it without complaint."""

import base64
import csv
import html.parser
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from adv_networks import tables
from adv_networks.experiments import TABLES
from adv_networks.storage import pictures
from adv_networks.storage.files import write_text
from adv_networks.storage.records import Outcome, merge, read
from adv_networks.tables import by_class, statements
from adv_networks.training.logs import METRICS
from tests.commands.test_listing import begun
from tests.tables.test_tables import record_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Cells(html.parser.HTMLParser):
    """The texts of the page's cells: of the tables by their key, of other files in their order."""

    def __init__(self, text):
        super().__init__()
        self.by_key, self.by_file, self.links, self.file, self.key, self.into = {}, {}, [], None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "table":
            self.file = attributes.get("data-file")
        elif tag == "td":
            self.key = attributes.get("data-cell")
            self.into = self.by_key.setdefault(self.key, []) if self.key else self.by_file.setdefault(self.file, [])
            if not self.key:
                self.into.append("")

    def handle_endtag(self, tag):
        if tag == "td":
            self.into = None

    def handle_data(self, text):
        if self.into is not None and self.key:
            self.into.append(text)
        elif self.into is not None:
            self.into[-1] += text


@pytest.fixture
def group(tmp_path):
    """Results at scale cpu: a part of Table 1 as it comes from records, the claims on it, and another file with marks."""
    directory, table = tmp_path / "results" / "cpu", TABLES["1"]
    measured = zip(table.cells("cpu"), (98.98, 3.15, 0.01, 7.99, 100.0), strict=False)
    records = [
        record_of(cell, percent, key=f"cell {number}", commit="abc<def", dataset="mnist", method=cell.target.method)
        for number, (cell, percent) in enumerate(measured)
    ]
    merge(directory / "records.csv", records)
    rows = tables.make_table(table, records)
    tables.write(table, rows, directory, scale="cpu", notes=["**D1** of width 32 & more"])
    statements.write(rows, directory, scale="cpu")
    write_text(directory / "checks.csv", 'check,verdict\n"PGD < FGS & ""so""",pass\n')
    write_text(directory / "strong" / "checks.csv", "check,verdict\nSquare never beats white-box,pass\n")
    workdir = tmp_path / "runs" / "mnist-standard-cpu-s0"
    begun(workdir)
    lines = [",".join(METRICS)] + [f"{step}," + ",".join(["0.5"] * (len(METRICS) - 1)) for step in (10, 20)]
    write_text(workdir / "metrics.csv", "\n".join(lines) + "\n")
    return directory


def test_every_number_is_that_of_its_csv_file(run, group):
    code, output, error = run("--report")
    assert (code, output) == (0, f"{group}/report.html\n"), error
    page = (group / "report.html").read_text()
    cells = Cells(page)
    with (group / "table1.csv").open() as handle:
        lines = list(csv.DictReader(handle))
    seen = 0
    for line in lines:
        for field in ("measured_percent", "published_percent"):
            shown = cells.by_key["|".join(("table1", line["dataset"], line["row"], line["column"], field))]
            expected = [f"{float(line[field]):.2f}"] if line[field] else ["–"]
            if field == "measured_percent" and line[field]:
                expected.append(f"{float(line['interval_low']):.2f} to {float(line['interval_high']):.2f}")
            assert shown == expected
            seen += 1
    assert seen == len(cells.by_key) == 54
    for name, file in (("claims", "claims.csv"), ("checks", "checks.csv"), ("strong checks", "strong/checks.csv")):
        with (group / file).open() as handle:
            assert cells.by_file[name] == [text for line in list(csv.reader(handle))[1:] for text in line]
    assert "D1 of width 32 &amp; more" in page and "abc&lt;def" in page


def test_cells_of_one_column_in_several_metrics_are_all_shown(run, group):
    table = TABLES["redblue-1"]
    rows = tables.make_table(table, [], scale="cpu")
    for number, row in enumerate(rows):
        row["measured_percent"] = 10.0 * number
    tables.write(table, rows, group, scale="cpu")
    assert run("--report")[0] == 0
    shown = Cells((group / "report.html").read_text()).by_key
    columns = [title for label in ("clean", "0.1", "0.25") for title in (label, f"{label}, confidence")]
    found = [shown[f"redblue-1|mnist|no regularisation|{column}|measured_percent"] for column in columns]
    assert found == [[f"{10 * number}.00"] for number in range(6)]


def test_page_is_whole_in_itself_and_small_and_pictures_are_beside_it(run, group):
    assert run("--report")[0] == 0
    page = (group / "report.html").read_text()
    assert all(link.startswith("data:") for link in Cells(page).links)
    assert not re.search(r"https?:|@import|url\(|<script", page)
    assert len(page.encode()) < 5_000_000
    assert "learning-mnist-clean" in page and "learning-mnist-pgd" in page
    assert (group / "table1-mnist.png").read_bytes().startswith(b"\x89PNG")
    assert (group / "table1-mnist.pdf").read_bytes().startswith(b"%PDF")


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


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_chromium_opens_it_within_two_seconds_and_without_console_messages(run, group, tmp_path):
    assert run("--report")[0] == 0
    # It says itself how long it took from the start of its navigation until all was loaded.
    timed = "addEventListener('load', () => { document.title = 'loaded in ' + Math.round(performance.now()) })"
    page = (group / "report.html").read_text().replace("</title>", f"</title><script>{timed}</script>")
    file = tmp_path / "timed.html"
    file.write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    profile = f"--user-data-dir={tmp_path}/profile"
    done = subprocess.run(
        [CHROMIUM, *options, profile, f"file://{file}"],
        capture_output=True,
        text=True,
        env=dict(os.environ, HOME=str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    milliseconds = int(re.search(r"<title>loaded in (\d+)</title>", done.stdout).group(1))
    assert milliseconds < 2_000
    assert "98.98" in done.stdout


def test_tables_of_other_seeds_are_on_the_page_too_and_those_of_other_settings_have_their_own(run, group):
    table = TABLES["1"]
    for directory, seed, percent in ((group / "seed1", 1, 97.25), (group.with_name("cpu-steps=1500"), 0, 12.75)):
        options = dict(steps=1500) if "steps" in directory.name else {}
        record = record_of(table.cells("cpu", seed=seed, **options)[0], percent)
        tables.write(table, tables.make_table(table, [record], seed=seed, **options), directory, scale="cpu")
        write_text(directory / "claims.csv", f"claim,measured\nclaim of {directory.name},holds\n")
        (directory / "perturbations.png").write_bytes(directory.name.encode())
    assert run("--report")[0] == 0
    page = (group / "report.html").read_text()
    cells, key = Cells(page), "mnist|standard (A)|No Noise|measured_percent"
    assert cells.by_key[f"table1|{key}"][0] == "98.98" and cells.by_key[f"seed1 table1|{key}"][0] == "97.25"
    assert tables.heading(table) + " (seed1)</h2>" in page and cells.by_file["seed1 claims"] == ["claim of seed1", "holds"]
    assert (group / "seed1" / "table1-mnist.png").read_bytes().startswith(b"\x89PNG")
    assert 'alt="seed1 perturbations"' in page and 'alt="seed1 table1-mnist"' not in page
    assert "12.75" not in page and "cpu-steps=1500" not in page
    assert run("--report", "--steps=1500")[:2] == (0, f"{group}-steps=1500/report.html\n")
    assert Cells((group.with_name("cpu-steps=1500") / "report.html").read_text()).by_key[f"table1|{key}"][0] == "12.75"


def test_classes_and_galleries_are_shown_and_outcomes_of_images_are_not(run, group):
    records = read(group / "records.csv")
    rng = np.random.default_rng(0)
    right, labels = {record.key: rng.random(500) < 0.7 for record in records}, rng.integers(0, 10, 500)
    merge(group / "outcomes.csv", [Outcome.of(key, own) for key, own in right.items()], Outcome)
    table = TABLES["1"]
    by_class.write(table, by_class.make_rows(table.cells("cpu"), records, right, {"mnist": labels}), group)
    images = rng.random((2, 4, 4, 1), np.float32)
    picture = pictures.perturbations(images, {"G": images}, 0.1, [["seen as 1", "seen as 2"]] * 2)
    pictures.save_for_print(picture, group / "table5-mnist-gallery")
    assert run("--report")[0] == 0
    page = (group / "report.html").read_text()
    cells = Cells(page)
    with (group / "table1-classes.csv").open() as handle:
        lines = list(csv.reader(handle))[1:]
    assert cells.by_file["table1-classes"] == [text for line in lines for text in line] and len(lines) == 50
    assert "outcomes" not in cells.by_file and len(cells.by_key) == 54
    for name in ("table1-mnist-classes", "table5-mnist-gallery"):
        assert base64.b64encode((group / f"{name}.png").read_bytes()).decode() in page
    assert len(page.encode()) < 5_000_000
