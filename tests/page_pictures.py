"""Pictures of the how-to pages, drawn from what the code of the page has solved.

``python -m tests.page_pictures`` draws them into docs/pictures; tests/test_readme.py, which runs
the pages, holds them to it. ``python -m tests.page_pictures sweeps`` draws those of one page.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.page_code import ROOT, code_and_outputs, words_and_numbers

PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 260, 46, 34, 26
COLOURS = ("#4a6fa5", "#c05621", "#2f855a", "#9aa5b1")
STYLE = "text{font:12px sans-serif;fill:#1f2933}path{fill:none;stroke-width:1.6}"

Curve = tuple[str, Any, Any]  # what it is, abscissae, ordinates


def line_picture(
    title: str,
    below: str,
    curves: Sequence[Curve],
    bands: Sequence[tuple[Any, Any]] = (),
    dots: Sequence[tuple[Any, Any]] = (),
) -> str:
    """Return curves over a common axis as SVG.

    `bands` are the least and largest ordinates beside each curve, `dots` abscissae and ordinates of
    points that belong to it.
    """
    xs = np.concatenate([np.asarray(x) for _, x, _ in curves])
    ys = np.concatenate(
        [*(y for _, _, y in curves), *(y for pair in bands for y in pair), *(y for _, y in dots)]
    )
    x0, x1, y0, y1 = xs.min(), xs.max(), ys.min(), ys.max()

    def place(x, y):
        right = LEFT + (WIDTH - LEFT - 12) * (x - x0) / (x1 - x0)
        return right, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (y - y0) / (y1 - y0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title><style>{STYLE}</style>",
        f'<text x="{LEFT}" y="16">{title}</text>',
    ]
    for x in np.linspace(x0, x1, 5):
        parts.append(f'<text x="{place(x, y0)[0]:.0f}" y="{HEIGHT - 18}">{x:.4g}</text>')
    for y in np.linspace(y0, y1, 4):
        parts.append(f'<text x="4" y="{place(x0, y)[1] + 4:.0f}">{y:.1f}</text>')
    parts.append(f'<text x="{WIDTH // 2}" y="{HEIGHT - 4}">{below}</text>')

    def path(x, y):
        across, down = place(np.asarray(x), np.asarray(y))
        return " L".join(f"{a:.0f} {b:.0f}" for a, b in zip(across, down, strict=True))

    for (_, x, _), (low, high), colour in zip(curves, bands, COLOURS, strict=False):
        around = path([*x, *x[::-1]], [*low, *high[::-1]])
        parts.append(f'<path style="fill:{colour};opacity:0.25" d="M{around}"/>')
    for (x, y), colour in zip(dots, COLOURS, strict=False):
        for a, b in zip(*place(np.asarray(x), np.asarray(y)), strict=True):
            parts.append(f'<circle cx="{a:.0f}" cy="{b:.0f}" r="2.5" fill="{colour}"/>')
    for number, (name, x, y) in enumerate(curves):
        points = path(x, y)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<path stroke="{colour}" d="M{points}"><title>{name}</title></path>')
        at = WIDTH - 12, 16 + 14 * number
        parts.append(
            f'<text x="{at[0]}" y="{at[1]}" text-anchor="end" style="fill:{colour}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def solved_on(page: str) -> dict[str, Any]:
    """Run the code of a page, in a folder of its own, and return its names."""
    names: dict[str, Any] = {}
    codes, _ = code_and_outputs(ROOT / "docs" / f"{page}.md")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), without_windows():
        shutil.copytree(ROOT / "docs" / "models", "models")
        for code in codes:
            exec(code, names)
    return names


@contextlib.contextmanager
def without_windows():
    """Let matplotlib draw as it does by itself, into files."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    with mpl.rc_context():
        mpl.rcdefaults()
        plt.switch_backend("Agg")
        yield
        plt.close("all")


def measured_input(names: Mapping[str, Any]) -> str:
    """Draw the weather, and rooms that follow it."""
    hours, solve = np.linspace(0.0, 72.0, 145), names["solve_ivp"]
    weather, hold = names["weather"], names["hold"]
    rooms = solve(names["room"], (0, 72), [15.0], args=(weather, hold), t_eval=hours, rtol=1e-6).y[
        :, 0
    ]
    curves = [(f"a room, {h:g} h", hours, y) for h, y in zip(hold, rooms, strict=True)]
    title = "Three rooms and the weather, in degrees"
    return line_picture(title, "hours", [*curves, ("outside", hours, weather(hours))])


def dosing(names: Mapping[str, Any]) -> str:
    """Draw three patients over the day."""
    rows = zip(names["rates"], names["day"].y[:, 0], strict=True)
    curves = [(f"rate {rate:g} per hour", names["hours"], y) for rate, y in rows]
    return line_picture("Four infusions of 0.2 hours", "hours", curves)


def dense_output(names: Mapping[str, Any]) -> str:
    """Draw a pendulum, and straight lines between the ends of its steps."""
    sol, times = names["one"].sol, np.linspace(0.0, 20.0, 401)
    curves = [("sol(t)", times, sol(times)[0]), ("ends of steps", sol.ts, sol(sol.ts)[0])]
    return line_picture("The angle of a pendulum, between the ends of its steps", "time", curves)


def events(names: Mapping[str, Any]) -> str:
    """Draw three balls until their sixth bounce."""
    curves = []
    for rate, heights in zip(names["rebound"], names["balls"].y[:, 0], strict=True):
        there = ~np.isnan(heights)
        curves.append((f"rebound {rate:g}", names["times"][there], heights[there]))
    return line_picture("Three balls, six bounces each: heights in metres", "seconds", curves)


def sensitivities(names: Mapping[str, Any]) -> str:
    """Return how the intermediate of Robertson's reaction depends on each rate."""
    times, result = names["times"], names["result"]
    curves = [
        (f"k{k + 1} db/dk{k + 1} / b", np.log10(times), names["rates"][k] * by / result.y[1])
        for k, by in enumerate(result.dy[1])
    ]
    return line_picture("What the intermediate depends on", "log10 of the time", curves)


def fitting(names: Mapping[str, Any]) -> str:
    """Draw the target after three doses: data, fit, and twice the standard error."""
    times, target = np.log10(names["times"]), names["best"].y[:, 2:].sum(axis=1)
    rows = list(zip(names["start"][:, 0], target, names["spread"], strict=True))
    curves = [(f"a dose of {dose:g}", times, y) for dose, y, _ in rows]
    bands = [(y - 2.0 * wide, y + 2.0 * wide) for _, y, wide in rows]
    dots = [(np.log10(names["days"]), seen) for seen in names["data"][:, 1]]
    title = "Target, free and bound, in parts of what was there"
    return line_picture(title, "log10 of the days", curves, bands, dots)


def large_systems(names: Mapping[str, Any]) -> str:
    """Draw the first species along the line."""
    along = names["runs"].y[3, 0::2]
    curves = [(f"t = {t:g}", names["x"], along[:, k]) for k, t in enumerate(names["times"])]
    return line_picture("The first species of a Brusselator, along a line", "place", curves)


def low_storage(names: Mapping[str, Any]) -> str:
    """Draw the concentration along a river of the middle speed."""
    along = names["runs"].y[1]
    curves = [(f"t = {t:g}", names["x"], along[:, k]) for k, t in enumerate(names["times"])]
    return line_picture("Concentration along a river", "place", curves)


def lifetimes(names: Mapping[str, Any]) -> str:
    """Draw where arrays of a kernel lie, phase after phase."""
    placed = list(names["answer"].placements.values())
    n_phases = max(end for place in placed for _, end in place.lifetime)
    top = max(place.end for place in placed)
    wide, high = (WIDTH - LEFT - 12) / n_phases, (HEIGHT - BOTTOM - TOP) / top
    title = "Shared memory of a block, phase by phase"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title><style>{STYLE}</style>",
        f'<text x="{LEFT}" y="16">{title}</text>',
    ]
    for place, colour in zip(placed, COLOURS, strict=False):
        for start, end in place.lifetime:
            x, y = LEFT + start * wide, HEIGHT - BOTTOM - place.end * high
            size = f'width="{(end - start) * wide:.1f}" height="{place.size_bytes * high:.1f}"'
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}" stroke="#fff"/>')
            text = f"{place.name}, {place.size_bytes} B"
            parts.append(f'<text x="{x + 8:.1f}" y="{y + 18:.1f}" style="fill:#fff">{text}</text>')
    for phase in range(n_phases):
        middle = LEFT + (phase + 0.5) * wide
        parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 12}">phase {phase}</text>')
    parts += [
        f'<text x="8" y="{HEIGHT - BOTTOM}">0 B</text>',
        f'<text x="8" y="{TOP + 12}">{top} B</text>',
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def mixed_precision(names: Mapping[str, Any]) -> str:
    """Draw how many steps are attempted until later and later times."""
    along = np.log10(names["times"])
    curves = [
        (f"factors in {precision}", along, np.log10(attempts))
        for precision, attempts in names["attempts"].items()
    ]
    return line_picture("Attempted steps of Robertson's reaction (log10)", "end (log10)", curves)


def sbml(names: Mapping[str, Any]) -> str:
    """Draw what is in the blood, for each rate of loss."""
    pairs = zip(names["losses"], names["blood"], strict=True)
    curves = [(f"{loss:g} per hour", names["times"], y) for loss, y in pairs]
    return line_picture("Concentration in the blood, a dose every 12 hours", "hours", curves)


def cellml(names: Mapping[str, Any]) -> str:
    """Draw the axon, from each value that it begins with."""
    pairs = zip(names["begun"], names["voltage"], strict=True)
    curves = [(f"from {v0:g} mV", names["times"], y) for v0, y in pairs]
    return line_picture("Depolarisation of the membrane, in mV", "ms", curves)


def fit_a_model(names: Mapping[str, Any]) -> str:
    """Draw the measurements of each experiment, and the fit."""
    fit, times, x = names["fit"], names["times"], names["found"].x
    rows = fit.simulations(x).reshape(3, -1), fit.measurements.reshape(3, -1)
    curves = [(f"S = {s:g}", times, y) for s, y in zip((0.5, 1, 3), rows[0], strict=True)]
    return line_picture("Product", "time", curves, dots=[(times, y) for y in rows[1]])


DRAWN = {
    "cellml": cellml,
    "fit-a-model": fit_a_model,
    "lifetimes": lifetimes,
    "large-systems": large_systems,
    "low-storage": low_storage,
    "measured-input": measured_input,
    "dosing": dosing,
    "events": events,
    "sbml": sbml,
    "sensitivities": sensitivities,
    "fitting": fitting,
    "dense-output": dense_output,
    "mixed-precision": mixed_precision,
}


def sweep(names: Mapping[str, Any]) -> Any:
    """Draw how often a neuron fires."""
    return names["s"].plot("spikes of v", x="current", y="rate")


def sweep_fan(names: Mapping[str, Any]) -> Any:
    """Draw neurons of two currents and many rates."""
    return names["fan"].plot("v", over="sample", bands=0.9)


def posterior(names: Mapping[str, Any]) -> Any:
    """Draw oscillators of the posterior, and what was seen."""
    ax = names["s"].plot("place", bands=(0.5, 0.95))
    ax.plot(names["times"], names["data"], "k.", label="seen")
    ax.legend()
    return ax


def lyapunov(names: Mapping[str, Any]) -> Any:
    """Draw the largest exponents over both parameters."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    image = ax.pcolormesh(
        names["drives"], names["dampings"], names["largest"].T, cmap="RdBu_r", vmin=-0.25, vmax=0.25
    )
    ax.set(xlabel="strength of the drive", ylabel="damping")
    figure.colorbar(image, label="largest Lyapunov exponent")
    return ax


PLOTTED = {
    "lyapunov": {"lyapunov": lyapunov},
    "sweeps": {"sweeps": sweep, "sweeps-fan": sweep_fan},
    "sweep-designs": {"sweep-designs": posterior},
}
"""What cubie draws itself, by matplotlib."""
DOTS_PER_INCH = 80


def draw(page: str, names: Mapping[str, Any], folder: Path | str) -> None:
    """Draw the pictures of a page, of the names that its code has."""
    folder = Path(folder)
    if page in DRAWN:
        (folder / f"{page}.svg").write_text(DRAWN[page](names), encoding="utf-8")
    with without_windows():
        for name, plot in PLOTTED.get(page, {}).items():
            plot(names).figure.savefig(folder / f"{name}.png", dpi=DOTS_PER_INCH)


def require_same(page: str, folder: Path) -> None:
    """Fail where pictures that were drawn again are not those of a page.

    Lines are the same to a pixel; what matplotlib draws but for how letters are smoothed.
    """
    text = (PICTURES.parent / f"{page}.md").read_text(encoding="utf-8")
    if page in DRAWN:
        words, numbers = words_and_numbers((PICTURES / f"{page}.svg").read_text(encoding="utf-8"))
        drawn = words_and_numbers((folder / f"{page}.svg").read_text(encoding="utf-8"))
        assert drawn[0] == words
        np.testing.assert_allclose(drawn[1], numbers, atol=1.01)
        assert f"pictures/{page}.svg" in text
    for name in PLOTTED.get(page, {}):
        kept, drawn = (_shades(where / f"{name}.png") for where in (PICTURES, folder))
        assert drawn.shape == kept.shape
        another = np.abs(kept[::-1] - kept).mean()
        assert np.abs(drawn - kept).mean() < 0.1 * another
        assert f"pictures/{name}.png" in text


def _shades(path: Path) -> np.ndarray:
    """Return a picture as shades of grey, from 0 to 1."""
    import matplotlib.pyplot as plt

    return plt.imread(path)[..., :3].mean(axis=-1)


def main(pages: Sequence[str], folder: Path = PICTURES) -> None:
    """Draw the pictures of some pages, or of all."""
    for page in pages or (*DRAWN, *PLOTTED):
        draw(page, solved_on(page), folder)


if __name__ == "__main__":
    main(sys.argv[1:])
