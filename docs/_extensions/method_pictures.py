"""A picture of each method: where it is stable, and what accuracy costs; from its coefficients.

It knows nothing of Sphinx: the tests of the pages draw the same.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator

from cubie.tableaus import RosenbrockTableau, Tableau

# Of the plane of z = h*lambda; all of it is mirrored at the real axis.
LEFT, RIGHT, TOP, N_ROWS, N_COLUMNS = -8.0, 4.0, 6.0, 48, 120
# Ten turns of y' = iy, by steps of one size.
T_END = 20 * math.pi
STEPS = tuple(round(10 * 10 ** (power / 4)) for power in range(14))
LEAST, MOST = 1e-12, 1.0
PLOT, GAP = 230, 46  # sides of the panels, and what is between them


def amplification(method: Tableau, z: complex) -> float:
    """Return |R(z)|, infinite at a pole."""
    try:
        return abs(method.stability_function(z))
    except (ZeroDivisionError, OverflowError):
        return math.inf


def stable_runs(method: Tableau) -> Iterator[tuple[float, float, float]]:
    """Yield (y, from, to): where |R(x + iy)| <= 1 along rows of the upper half plane.

    Ends between two columns are interpolated linearly.
    """
    width = (RIGHT - LEFT) / N_COLUMNS
    for row in range(N_ROWS):
        y = (row + 0.5) * TOP / N_ROWS
        xs = [LEFT + width * i for i in range(N_COLUMNS + 1)]
        excess = [amplification(method, complex(x, y)) - 1 - 1e-9 for x in xs]
        start = xs[0] if excess[0] <= 0 else None
        for i in range(N_COLUMNS):
            before, after = excess[i], excess[i + 1]
            if (before <= 0) == (after <= 0):
                continue
            part = before / (before - after) if math.isfinite(before - after) else 0.5
            crossing = xs[i] + part * width
            if start is None:
                start = crossing
            else:
                yield y, start, crossing
                start = None
        if start is not None:
            yield y, start, RIGHT


def work_precision(method: Tableau) -> list[tuple[int, float]]:
    """Return stages computed and the error at the end, of y' = iy over ten turns.

    On a linear equation of one state a step multiplies by R(ih): no solve is needed, and rounding
    is that of double precision.
    """
    found = []
    exact = cmath.exp(1j * T_END)
    for n in STEPS:
        factor = method.stability_function(1j * T_END / n)
        if n * math.log(max(abs(factor), 1e-300)) > 2:
            continue  # unstable with so few steps
        error = abs(factor**n - exact)
        if LEAST < error <= MOST:
            found.append((n * method.n_stages, error))
    return found


def observed_order(method: Tableau) -> float:
    """Return the slope of the last two points of `work_precision`."""
    (less, larger), (more, smaller) = work_precision(method)[-2:]
    return math.log(larger / smaller) / math.log(more / less)


def facts(method: Tableau) -> str:
    """Return order, stages, stability and source in a line."""
    kind = "Rosenbrock, " if isinstance(method, RosenbrockTableau) else ""
    estimate = "with an error estimate" if method.has_error_estimate else "of fixed steps"
    return (
        f"{kind}order {method.order}, {method.n_stages} stages, {estimate}, "
        f"{method.stability.value}. {method.source}"
    )


def picture(method: Tableau) -> str:
    """Return both panels as SVG in the colour of the text around it."""
    width, height = 2 * PLOT + 2 * GAP + 10, PLOT + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'style="max-width:100%;width:{width}px" font-size="12" font-family="sans-serif" '
        'fill="currentColor">',
        f"<title>{method.name}: region of stability, and error over stages computed</title>",
        *_region(method),
        *_precision(method, PLOT + 2 * GAP),
        "</svg>",
    ]
    return "".join(parts)


def _region(method: Tableau) -> Iterator[str]:
    scale = PLOT / (RIGHT - LEFT)
    middle, origin = 20 + PLOT / 2, -LEFT * scale
    tall = TOP / N_ROWS * scale + 0.15
    yield f'<text x="0" y="12">stable for h*lambda in, {LEFT:g} to {RIGHT:g}</text>'
    path = []
    for y, start, end in stable_runs(method):
        x, wide = (start - LEFT) * scale, (end - start) * scale
        for sign in (-1, 1):
            top = middle + sign * y * scale - tall / 2
            path.append(f"M{x:.1f} {top:.1f}h{wide:.1f}v{tall:.1f}h{-wide:.1f}z")
    yield f'<path d="{"".join(path)}" fill="#4a6fa5"/>'
    yield (
        f'<path d="M0 {middle:.1f}h{PLOT}M{origin:.1f} 20v{PLOT}M0 20h{PLOT}v{PLOT}h-{PLOT}z" '
        'fill="none" stroke="currentColor" stroke-width="0.7"/>'
    )


def _precision(method: Tableau, left: float) -> Iterator[str]:
    low, high = math.log10(50), math.log10(3e5)
    down = math.log10(MOST / LEAST)
    yield f'<text x="{left}" y="12">error of ten turns over stages computed</text>'
    points = [
        (
            left + PLOT * (math.log10(stages) - low) / (high - low),
            20 + PLOT * math.log10(MOST / error) / down,
        )
        for stages, error in work_precision(method)
        if low <= math.log10(stages) <= high
    ]
    for power in (0, -4, -8, -12):
        y = 20 + PLOT * -power / down
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>'
    for power in (2, 3, 4, 5):
        x = left + PLOT * (power - low) / (high - low)
        yield f'<text x="{x:.1f}" y="{PLOT + 36}" text-anchor="middle">1e{power}</text>'
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield f'<path d="M{line}" fill="none" stroke="#4a6fa5" stroke-width="2"/>'
    yield "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#4a6fa5"/>' for x, y in points)
    yield (
        f'<path d="M{left} 20h{PLOT}v{PLOT}h-{PLOT}z" fill="none" stroke="currentColor" '
        'stroke-width="0.7"/>'
    )
