"""What people look at: tables, pictures, a page, and what a plan that was read may claim."""

from cubie_planner.plans.cells import COLUMNS, row, rows
from cubie_planner.report.alternatives import decision_text
from cubie_planner.report.picture import plot
from cubie_planner.report.tables import NUMBERS, Savings, savings, table, text, totals

__all__ = [
    "COLUMNS",
    "NUMBERS",
    "Savings",
    "decision_text",
    "plot",
    "row",
    "rows",
    "savings",
    "table",
    "text",
    "totals",
]
