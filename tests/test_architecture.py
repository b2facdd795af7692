"""docs/architecture.md says of the code what is so."""

import itertools
import re
from pathlib import Path

import pytest

from docs import draw_packages
from tests.structure import LEVELS, Code

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_FILES = 8


@pytest.fixture(scope="module")
def code():
    return Code.read(ROOT)


def test_picture_is_that_of_the_code(code):
    committed = (ROOT / "docs" / "pictures" / "packages.svg").read_text(encoding="utf-8")
    assert draw_packages.draw(code) == committed, "expected docs/pictures/packages.svg as `make picture` draws it"


def test_arrows_are_the_imports_and_lead_to_all_that_is_imported(code):
    below = draw_packages.imports_between_packages(code)
    arrows = draw_packages.without_what_follows(below)
    assert (
        "__main__" in below["main"]
        and "flags" in below["__main__"]
        and "commands" in below["flags"]
        and "errors" in below["storage"]
    )

    def reached(part):
        return set().union(*({other} | reached(other) for one, other in arrows if one == part))

    for part, others in below.items():
        assert {other for one, other in arrows if one == part} <= others <= reached(part)


def test_arrow_that_follows_from_two_others_is_left_out():
    below = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert draw_packages.without_what_follows(below) == [("a", "b"), ("b", "c"), ("c", "d")]


def test_boxes_of_a_row_do_not_overlap(code):
    below = draw_packages.imports_between_packages(code)
    centres = draw_packages.arrange(below, draw_packages.without_what_follows(below))
    for row in {row for row, _ in centres}:
        boxes = sorted(centre for (own, place), centre in centres.items() if own == row and isinstance(place, str))
        assert all(right - left > draw_packages.BOX_WIDTH for left, right in itertools.pairwise(boxes))


def test_page_names_every_package(code):
    parts = {module.part for module in code.modules} & {part for level in LEVELS for part in level}
    named = set(
        re.findall(r"`(\w+)(?:\.py)?`", "".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")))
    )
    assert parts <= named


def test_chain_to_the_update_rule_is_short_and_each_file_is_imported_by_one_before_it(code):
    chain = re.findall(r"^\d+\. `([\w/.]+\.py)`", PAGE, re.MULTILINE)
    modules = {module.path: module for module in code.modules}
    assert chain[0] == "adv_networks/__main__.py" and 1 < len(chain) <= MOST_FILES
    for number, path in enumerate(chain[1:], start=1):
        imported = {found.target for earlier in chain[:number] for found in code.imports(modules[earlier])}
        packages = {f"{target.replace('.', '/')}/__init__.py" for target in imported} & modules.keys()
        imported |= {found.target for package in packages for found in code.imports(modules[package])}
        assert modules[path].name in imported, f"expected {path} imported by one of {', '.join(chain[:number])}"
    assert "def regularised_gradient" in modules[chain[-1]].text
