"""A report as people and programs read it: table, JSON, page."""

from hashbwn_keras.reporting.data import Comparison
from hashbwn_keras.reporting.page import page


class Report(Comparison):
    """How a binarised network compares with the float network it was made from.

    ``str(report)`` is the table for a terminal, ``report.to_json()`` all of it for programs,
    ``report.to_html()`` a page; the attributes are those of
    :class:`hashbwn_keras.reporting.data.Comparison`.
    """

    def to_html(self) -> str:
        """Return the report as a page with plots that needs no other file."""
        return page(self)
