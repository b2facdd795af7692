"""A source made up for the test: measured rows, metrics, counts, what is missing, and the words that a reader sees."""

import pytest

from adv_networks import claims
from adv_networks.claims import Claim, Number, Scope, Source, Verdict

HOLDS, FAILS, UNDECIDED, NOT_MEASURED = Verdict
CLEAN, ATTACKED = (("t", "digits", "net", column) for column in ("clean", "FGS"))
SURE = ("t", "digits", "net", "FGS", "confidence")
FOOLED = ("t", "digits", "net", "FGS", "images fooled")
OWN = ("t", "digits", "net", "ours")

SOURCE = Source(
    name="made_up",
    kind="leaflet",
    sections={"1": "attacks", "end": "measures"},
    claims=(
        Claim("1", "FGS leaves less than clean images", claims.greater(CLEAN, ATTACKED), "1a"),
        Claim("end", "FGS errs with confidence", claims.above(SURE, 90), "2"),
        Claim("end", "FGS fools as many images as it takes", claims.Between(((100 / 360, FOOLED), (1, ATTACKED)), 60, 80)),
        Claim("end", "what the leaflet has no number of", claims.below(OWN, 50)),
    ),
    published=lambda: {
        SURE: Number(95.0, 360),
        CLEAN: Number(98.0, 360),
        ATTACKED: Number(20.0, 360),
        FOOLED: Number(180.0, None),
    },
    readings=("The leaflet is made up.",),
    not_in_tables=(("1", "that it is so: nobody counted"),),
    tables="`t.md`",
)


def row(key, percent, **changes):
    values = dict(zip(("table", "dataset", "row", "column", "metric"), key, strict=False))
    return values | dict(measured_percent=percent, images=360) | changes


def test_published_verdicts_and_cells_in_the_order_of_the_tables():
    judged = SOURCE.judge_published()
    assert [one.verdict for one in judged] == [HOLDS, HOLDS, HOLDS, NOT_MEASURED]
    assert [key for key, _ in judged[0].cells] == [CLEAN, ATTACKED]
    # 180 of 360 are 50 points; with the 20 of FGS 70. Only the 20 have an error: 74 of 364, ± 1.96 sqrt(20.33 · 79.67 / 364).
    assert judged[2].claim.predicate.interval(SOURCE.published(), 1.96) == pytest.approx((70 - 4.1345, 70 + 4.1345), abs=1e-3)
    assert judged[3].missing == (OWN,)


def test_measured_rows_are_cells_by_metric():
    rows = [row(CLEAN, 98.0), row(ATTACKED, 97.0), row(SURE, 80.0), row(OWN, 10.0, data="subset")]
    numbers = claims.measured(rows)
    assert numbers == {CLEAN: Number(98.0, 360), ATTACKED: Number(97.0, 360), SURE: Number(80.0, 360)}
    assert [one.verdict for one in SOURCE.judge(numbers)] == [UNDECIDED, FAILS, NOT_MEASURED, NOT_MEASURED]
    assert claims.measured([row(CLEAN, 98.0, metric="accuracy")]) == {CLEAN: Number(98.0, 360)}
    assert claims.measured([row(CLEAN, None)]) == {}


def test_a_part_of_the_images_is_judged_by_its_own_sampling_error():
    """By hand: 98% of 360 and 80 or 91% of 40 differ by 18 and 7 points, ± 1.96 sqrt(0.7 + 39.9 or 25.2) = 12.5 and 10.0."""
    for attacked, verdict in ((80.0, HOLDS), (91.0, UNDECIDED)):
        numbers = claims.measured([row(CLEAN, 98.0), row(ATTACKED, attacked, data="limited", images=40)])
        (judged, *others) = SOURCE.judge(numbers)
        assert (judged.verdict, judged.scope) == (verdict, Scope.PART)
        assert {one.scope for one in others} == {Scope.ALL}
        assert numbers[ATTACKED] == Number(attacked, 40, Scope.PART)
        assert f"FGS {attacked:.2f} of 40 (20.00)" in claims.as_lines(SOURCE, numbers)[0]["cells"]
    assert SOURCE.judge(claims.measured([row(CLEAN, 98.0), row(ATTACKED, 91.0)]))[0].verdict == HOLDS


def test_another_split_is_said_before_a_part_of_the_images():
    numbers = claims.measured([row(CLEAN, 98.0, data="split"), row(ATTACKED, 20.0, data="limited")])
    assert SOURCE.judge(numbers)[0].scope == Scope.SPLIT


def test_lines_show_numbers_metrics_counts_and_what_is_missing():
    first, second, third, fourth = claims.as_lines(SOURCE, {CLEAN: Number(50.0, 360), SURE: Number(91.0, 360)})
    assert first["claim"] == "1a. FGS leaves less than clean images"
    assert first["cells"] == "t, digits: net clean 50.00 (98.00), FGS – (20.00)"
    assert first["not_measured_cells"] == "t/digits/net/FGS"
    assert (second["measured"], second["published"]) == (UNDECIDED, HOLDS)
    assert second["cells"] == "t, digits: net FGS confidence 91.00 (95.00)"
    assert "FGS images fooled – (180)" in third["cells"]
    assert (fourth["measured"], fourth["published"], fourth["published_as_printed"]) == (
        NOT_MEASURED,
        "not published",
        "not published",
    )


def test_markdown_and_text_are_of_the_source():
    numbers = {CLEAN: Number(20.0, 360), ATTACKED: Number(98.0, 360)}
    text = claims.as_markdown(SOURCE, numbers, scale="`tiny`: seconds")
    assert text.startswith(
        "# The leaflet's statements about its tables\n\nScale `tiny`: seconds. How the numbers came about is"
    )
    assert "in `t.md` beside" in text
    assert "| measured | 0 | 1 | 0 | 3 |\n| published | 3 | 0 | 0 | 1 |" in text
    assert "- The leaflet is made up.\n" in text
    assert "## Holds in the published tables, does not hold here\n\n- 1: 1a. FGS leaves less than clean images\n" in text
    assert "## Section 1: attacks" in text and "## End: measures" in text
    assert text.endswith("## What the text says and no table can show\n\n- 1: that it is so: nobody counted.\n")
    assert "  not measured (not published): what the leaflet has" in claims.as_text(SOURCE, numbers, scale="tiny")


def test_registered_sources_are_those_of_the_papers_and_the_first_is_the_paper():
    assert next(iter(claims.SOURCES)) == "direct_approach"
    assert len({source.stem for source in claims.SOURCES.values()}) == len(claims.SOURCES)
    assert SOURCE.stem == "claims-made_up"
