"""Tables written from the code itself, so that they cannot fall behind it."""

from collections.abc import Iterable, Sequence

from choices import controllers, places_of_buffers
from docutils import nodes
from method_pictures import facts, picture
from sphinx.util.docutils import SphinxDirective

from cubie import RunStatus
from cubie.tableaus import all_methods, all_tableaus


class StatusTable(SphinxDirective):
    """``status-table``: one row for each outcome a run can have."""

    def run(self) -> list[nodes.Node]:
        rows = [(str(int(s)), s.name, s.sentence, s.remedy) for s in RunStatus]
        return [_table(("code", "name", "what happened", "what to do"), (1, 4, 10, 10), rows)]


class MethodTable(SphinxDirective):
    """``method-table``: one row for each method."""

    def run(self) -> list[nodes.Node]:
        rows = [
            (
                t.name,
                ", ".join(t.aliases),
                type(t).__name__.removesuffix("Tableau").removesuffix("Method"),
                str(t.order),
                str(getattr(t, "n_stages", "-")),
                "yes" if t.has_error_estimate else "no",
            )
            for t in all_methods().values()
        ]
        headings = ("name", "also called", "family", "order", "stages", "adaptive")
        return [_table(headings, (6, 6, 4, 2, 2, 2), rows)]


class MethodPictures(SphinxDirective):
    """``method-pictures``: each method with a tableau, what it is, and its picture."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for method in all_tableaus().values():
            name = nodes.rubric("", method.name, ids=[f"method-{method.name.replace('_', '-')}"])
            drawing = nodes.raw("", f"<p>{picture(method)}</p>", format="html")
            found += [name, nodes.paragraph(text=facts(method)), drawing]
        return found


class ControllerTable(SphinxDirective):
    """``controller-table``: one row for each step-size controller."""

    def run(self) -> list[nodes.Node]:
        headings = ("name", "what it does", "default of methods that are")
        return [_table(headings, (3, 12, 6), controllers())]


class BufferTable(SphinxDirective):
    """``buffer-table``: one row for each component, with the location options of its buffers."""

    def run(self) -> list[nodes.Node]:
        rows = [(name, ", ".join(own)) for name, own in places_of_buffers().items()]
        return [_table(("component", "options"), (3, 15), rows)]


def _table(
    headings: Sequence[str], widths: Sequence[int], rows: Iterable[Sequence[str]]
) -> nodes.table:
    group = nodes.tgroup(cols=len(headings))
    for width in widths:
        group += nodes.colspec(colwidth=width)
    head, body = nodes.thead(), nodes.tbody()
    head += _row(headings)
    for cells in rows:
        body += _row(cells)
    group += [head, body]
    table = nodes.table()
    table += group
    return table


def _row(cells: Sequence[str]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", nodes.paragraph(text=cell))
    return row


def setup(app) -> dict:
    """Register the directives."""
    app.add_directive("status-table", StatusTable)
    app.add_directive("method-table", MethodTable)
    app.add_directive("method-pictures", MethodPictures)
    app.add_directive("controller-table", ControllerTable)
    app.add_directive("buffer-table", BufferTable)
    return {"version": "1", "parallel_read_safe": True}
