"""The files of claims: every claim with its cells, what counts as measured, the summary, and the command that writes them."""

import csv
import io
from pathlib import Path

import pytest

from adv_networks import claims, tables
from adv_networks.claims import SOURCES, Verdict
from adv_networks.commands.base import Request
from adv_networks.commands.make_claims import MakeClaims
from adv_networks.experiments import DATASETS, TABLES
from adv_networks.papers.published import published
from adv_networks.storage.records import merge
from adv_networks.tables import statements
from adv_networks.training import Workspace
from tests.tables.test_tables import record_of

FAILS, NOT_MEASURED, UNDECIDED = Verdict.FAILS, Verdict.NOT_MEASURED, Verdict.UNDECIDED
PAPER = SOURCES["direct_approach"]


def published_rows(**changes):
    """The paper's numbers as if they had been measured, on all test images."""
    return [
        dict(zip(("table", "dataset", "row", "column"), key, strict=True))
        | dict(measured_percent=percent, images=DATASETS[key[1]].test_images, data="complete")
        | changes
        for key, percent in published("direct_approach").items()
    ]


def judge(rows):
    return PAPER.judge(claims.measured(rows))


def test_measured_like_published_is_judged_like_published():
    judged = judge(published_rows())
    assert judged == PAPER.judge_published()
    assert {one.verdict for one in judged} == {Verdict.HOLDS, FAILS, UNDECIDED}
    without = [{key: value for key, value in row.items() if key != "data"} for row in published_rows()]
    assert judge(without) == judged


@pytest.mark.parametrize("change", [dict(measured_percent=None), dict(data="subset"), dict(data=None), None])
def test_a_cell_missing_or_of_too_few_test_images_leaves_its_claims_unmeasured(change):
    key = ("2", "svhn", "standard (A)", "PGD")
    rows = []
    for row in published_rows():
        if (row["table"], row["dataset"], row["row"], row["column"]) == key:
            row = change and row | change
        rows += [row] if row else []
    affected = 0
    for one, papers in zip(judge(rows), PAPER.judge_published(), strict=True):
        resting = key in dict(one.cells)
        affected += resting
        assert one.verdict == (NOT_MEASURED if resting else papers.verdict)
        assert one.missing == ((key,) if resting else ())
    assert affected == 4


@pytest.mark.parametrize(("data", "scope"), [("split", "on another split"), ("limited", "on a part of the images")])
def test_claims_of_other_test_images_are_judged_and_counted_apart(data, scope):
    rows = [row | dict(data=data if row["dataset"] == "svhn" else "part") for row in published_rows()]
    judged = judge(rows)
    assert [one.verdict for one in judged] == [one.verdict for one in PAPER.judge_published()]
    apart = [one for one in judged if one.scope == scope]
    assert {any(key[1] == "svhn" for key, _ in one.cells) for one in apart} == {True}
    assert {one.scope for one in set(judged) - set(apart)} == {claims.Scope.ALL}
    text, total = claims.as_markdown(PAPER, claims.measured(rows), scale="cpu"), {}
    for who, chosen in (("measured", set(judged) - set(apart)), (f"measured, {scope}", set(apart))):
        verdicts = [one.verdict for one in chosen]
        total |= {who: len(verdicts)}
        assert f"| {who} | {' | '.join(str(verdicts.count(verdict)) for verdict in Verdict)} |" in text
    assert sum(total.values()) == len(judged) and total[f"measured, {scope}"] > 0
    assert f"\n- {scope[0].upper()}{scope[1:]}: " in text
    (line, *_) = [line for line in claims.as_lines(PAPER, claims.measured(rows)) if "svhn" in line["cells"]]
    assert line["measured"].endswith(f", {scope}")
    assert (" of 26,032 (" in line["cells"]) == (data == "limited")


def test_fewer_images_decide_less():
    few = [one.verdict for one in judge(published_rows(images=100))]
    assert few.count(UNDECIDED) > [one.verdict for one in PAPER.judge_published()].count(UNDECIDED)


def test_files_hold_every_claim_with_its_cells(tmp_path):
    rows = [row for row in published_rows() if row["table"] in "14" and row["dataset"] == "mnist"]
    statements.write(rows, tmp_path, scale="cpu")
    text = (tmp_path / "claims.md").read_text()
    lines = list(csv.DictReader(io.StringIO((tmp_path / "claims.csv").read_text())))
    judged = judge(rows)
    assert [(line["section"], line["claim"]) for line in lines] == [(one.claim.section, one.claim.text) for one in judged]
    for line, one, papers in zip(lines, judged, PAPER.judge_published(), strict=True):
        assert (line["measured"], line["published"]) == (one.verdict, papers.verdict)
        assert f"| {one.claim.text} | {one.verdict} | {papers.verdict} | {line['cells']} |" in text.splitlines()
        assert line["not_measured_cells"].split("; ") == (["/".join(key) for key in one.missing] or [""])
        assert line["cells"].count("–") == len(one.missing)
    first = lines[1]
    assert first["cells"] == "Table 1, mnist: adversarial PGD (B) FGS 95.60 (95.60), PGD 91.96 (91.96)"
    white_box = next(line for line in lines if line["section"] == "4.2" and "above A" in line["claim"])
    assert white_box["not_measured_cells"] == "2/svhn/standard (A)/PGD; 2/svhn/adversarial network (C)/PGD"
    assert white_box["cells"] == "Table 2, svhn: standard (A) PGD – (2.07); adversarial network (C) PGD – (28.76)"


def test_summary_counts_and_lists_the_misfits():
    text = claims.as_markdown(PAPER, claims.measured(published_rows()), scale="cpu")
    verdicts = [one.verdict for one in PAPER.judge_published()]
    counts = " | ".join(str(verdicts.count(verdict)) for verdict in Verdict)
    assert f"| measured | {counts} |\n| published | {counts} |" in text
    misfits = text.split("## Statements of the paper that do not fit its own tables, read so\n")[1].split("##")[0]
    assert misfits.count("\n- ") == verdicts.count(FAILS)
    assert "- 4.2: Of the surrogates B' leaves every model lowest" in misfits
    within = text.split("but within the sampling error\n")[1].split("##")[0]
    assert within.count("\n- ") == 3 and "4.3: Black-box, C is the highest" in within
    terminal = claims.as_text(PAPER, claims.measured(published_rows()), scale="cpu")
    assert all(f"({one.verdict}): {one.claim.text}\n" in terminal for one in PAPER.judge_published())


def test_disagreements_of_measured_and_published_are_listed():
    rows = published_rows()
    for row in rows:
        if (row["table"], row["row"], row["column"]) == ("1", "adversarial PGD (B)", "PGD"):
            row["measured_percent"] = 10.0
        if (row["table"], row["row"], row["column"]) == ("2", "standard (A)", "PGD(A')"):
            row["measured_percent"] = 60.0
    text = claims.as_markdown(PAPER, claims.measured(rows), scale="cpu")
    lost = text.split("does not hold here\n")[1].split("##")[0]
    gained = text.split(", holds here\n")[1].split("##")[0]
    assert "- 4.1: B stays above 90% under white-box FGS and PGD\n" in lost
    assert gained.strip() == "- 4.2: Of the surrogates B' leaves every model lowest, under FGS and under PGD"


def part_of(dataset, count, data, percent):
    """Rows of Table 4, as if this many of its cells had been measured."""
    rows = [row for row in published_rows(data=data) if (row["table"], row["dataset"]) == ("4", dataset)]
    return [row | {"measured_percent": percent if number < count else None} for number, row in enumerate(rows)]


def test_each_part_of_a_table_comes_from_one_directory():
    """From that with most cells, then that with the most complete ones, then the first."""
    first, second, third = map(Path, ("first", "second", "third"))
    rows, places = statements.gathered(
        {
            first: [
                *part_of("mnist", 3, "complete", 1.0),
                *part_of("svhn", 3, "limited", 1.0),
                *part_of("cifar10", 3, "part", 1.0),
            ],
            second: [
                *part_of("mnist", 4, "limited", 2.0),
                *part_of("svhn", 3, "part", 2.0),
                *part_of("cifar10", 3, "part", 2.0),
            ],
            third: part_of("mnist", 18, "subset", 3.0),
        }
    )
    assert places == {("4", "mnist"): second, ("4", "svhn"): second, ("4", "cifar10"): first}
    found = {(row["dataset"], row["measured_percent"], row["data"]) for row in rows}
    assert found == {("mnist", 2.0, "limited"), ("svhn", 2.0, "part"), ("cifar10", 1.0, "part")}
    assert len(rows) == 4 + 3 + 3


def test_claims_rest_on_tables_of_other_directories_too(run, tmp_path):
    own, other = tmp_path / "results" / "cpu", tmp_path / "elsewhere" / "cpu-steps=5"
    merge(own / "records.csv", [record_of(cell, 50.0, key=f"cell {n}") for n, cell in enumerate(TABLES["1"].cells("cpu"))])
    records = [record_of(cell, 40.0, key=f"cell {n}") for n, cell in enumerate(TABLES["3"].cells("cpu"))]
    rows = tables.make_table(TABLES["3"], records, scale="cpu")
    tables.write(TABLES["3"], rows, other, scale="cpu")
    ignored = [row | {"measured_percent": 10.0} for row in rows]
    for place in (other / "seed1", other.with_name("cpu-released"), other.with_name("tiny")):
        tables.write(TABLES["3"], ignored, place, scale="cpu")
    code, _, error = run("--table=claims", f"--tables_from={tmp_path / 'elsewhere'},{tmp_path / 'results'}")
    assert (code, error) == (0, "")
    with (own / "claims.csv").open() as file:
        lines = list(csv.DictReader(file))
    judged = {line["section"]: line["cells"] for line in lines if line["measured"] != NOT_MEASURED}
    assert " 50.00 (" in judged["4.1"] and " 40.00 (" in judged["4.3"] and "4.5" not in judged
    text = (own / "claims.md").read_text(encoding="utf-8")
    assert f"- `{other.as_posix()}`: Table 3 (cifar10).\n" in text and "results/cpu`: Table 1 (mnist)" in text
    assert not (other / "claims.csv").exists()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--table=claims", "--tables_from="], 2, "must not be empty"),
        (["--table=claims", "--tables_from=nowhere"], 1, "expected results of scale cpu in or below nowhere, found none"),
        (["--table=1", "--tables_from=results"], 2, "expected no --tables_from"),
    ],
)
def test_wrong_directories_are_refused_in_one_line(run, flags, code, message):
    found, _, error = run(*flags)
    assert found == code and message in error and error.count("\n") == 1


def claims_by_command(tmp_path, *, seed=0):
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path / "results")
    (text,) = MakeClaims(request=Request(seeds=(seed,)), workspace=workspace).run()
    return text


@pytest.mark.parametrize("seed", [0, 2])
def test_command_judges_the_records_and_trains_nothing(seed, tmp_path):
    cells = TABLES["1"].cells("cpu", seed=seed)
    numbers = published("direct_approach")
    records = [
        record_of(cell, numbers[cell.table, cell.dataset, cell.row, cell.column], key=f"cell {number}")
        for number, cell in enumerate(cells)
    ]
    group = tmp_path / "results" / "cpu"
    merge(group / "records.csv", records)
    text = claims_by_command(tmp_path, seed=seed)
    directory = group / f"seed{seed}" if seed else group
    with (directory / "claims.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["measured"] for line in lines if line["section"] == "4.2"} == {NOT_MEASURED}
    own = [line for line in lines if line["section"] == "4.1"]
    assert len(own) == 13 and all(line["measured"] == line["published"] for line in own)
    assert f"not measured {len(lines) - 13}" in text
    assert "does not hold (does not hold): By attack:" in text
    assert not (tmp_path / "runs").exists()
    # The records are of another seed's classifiers.
    assert f"not measured {len(lines)}\n" in claims_by_command(tmp_path, seed=seed + 5)


def test_claims_on_tables_that_the_overrides_do_not_make_are_not_measured(run, tmp_path):
    cells = TABLES["1"].cells("cpu", generator_width=4)
    group = tmp_path / "results" / "cpu-generator_width=4"
    merge(group / "records.csv", [record_of(cell, 50.0, key=f"cell {number}") for number, cell in enumerate(cells)])
    code, _, error = run("--table=claims", "--width=4")
    assert (code, error) == (0, "")
    with (group / "claims.csv").open() as file:
        verdicts = {line["section"]: line["measured"] for line in csv.DictReader(file)}
    assert verdicts["4.1"] != NOT_MEASURED == verdicts["4.5"]
