"""Tables: from cells to records to rows, and rows as CSV, Markdown, text and pictures."""

from adv_networks.papers.published import published
from adv_networks.tables.layout import as_csv, as_markdown, as_text, heading, stem, write
from adv_networks.tables.match import completeness, least_complete, match, parts_of, source_name
from adv_networks.tables.rows import FIELDS, is_table, make_table, over_seeds, read, wilson_interval

__all__ = [
    "FIELDS", "as_csv", "as_markdown", "as_text", "completeness", "heading", "is_table", "least_complete", "make_table",
    "match", "over_seeds", "parts_of", "published", "read", "source_name", "stem", "wilson_interval", "write",
]  # fmt: skip
