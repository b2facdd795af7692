"""What sources say about their tables, as predicates that are checked on the measured cells and on the published ones.

A source (`papers` registers them) has a claim for each comparative sentence, in one line of our own words. A sentence that
allows two readings, or says two things, has a claim for each. `predicates` says how vague words are read and when a comparison
is decided.

Examples:
    >>> from adv_networks import claims
    >>> first, second = ("1", "mnist", "A", "PGD"), ("1", "mnist", "B", "PGD")
    >>> numbers = {first: claims.Number(2.0, 10_000), second: claims.Number(91.0, 10_000)}
    >>> claims.greater(second, first).verdict(numbers, claims.Z).value
    'holds'
"""

from adv_networks.claims.predicates import (
    CLOSE,
    MUCH,
    AtLeast,
    Between,
    Key,
    Number,
    Numbers,
    Predicate,
    Scope,
    Verdict,
    Z,
    above,
    all_close,
    all_of,
    any_of,
    below,
    close,
    greater,
    highest,
    lowest,
    mean_greater,
    most_of,
    not_highest,
)
from adv_networks.claims.render import FIELDS, Part, as_lines, as_markdown, as_text
from adv_networks.claims.sources import COMPLETENESS, SOURCES, Claim, Grid, Judgement, Source, cell_key, measured, register

__all__ = [
    "CLOSE",
    "COMPLETENESS",
    "FIELDS",
    "MUCH",
    "SOURCES",
    "AtLeast",
    "Between",
    "Claim",
    "Grid",
    "Judgement",
    "Key",
    "Number",
    "Numbers",
    "Part",
    "Predicate",
    "Scope",
    "Source",
    "Verdict",
    "Z",
    "above",
    "all_close",
    "all_of",
    "any_of",
    "as_lines",
    "as_markdown",
    "as_text",
    "below",
    "cell_key",
    "close",
    "greater",
    "highest",
    "lowest",
    "mean_greater",
    "measured",
    "most_of",
    "not_highest",
    "register",
]
