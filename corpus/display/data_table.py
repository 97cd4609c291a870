"""A table of figures and texts that is shown the same way on a terminal and on a page."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

DataRow = Sequence[str | int]


class DataTable(NamedTuple):
    """Rows under named columns; those numbered in `text` hold text, all others figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[DataRow]
    text: Collection[int] = (0,)
    marked: str = ""  # column whose cells stand out on a page
    note: str = ""  # shown below the rows

    def select_columns(self, *names: str) -> "DataTable":
        """Return a table with these columns, for an output that has no room for all."""
        chosen = [self.columns.index(name) for name in names]
        rows = [[row[index] for index in chosen] for row in self.rows]
        text = [number for number, index in enumerate(chosen) if index in self.text]
        return self._replace(columns=names, rows=rows, text=text)
