"""The command `cubie-sweep`: its options, what it computes and shows, and its exit status."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cubie.cli import types
from cubie.cli.base import SETTINGS, OneLineCommand
from cubie.cli.errors import InputError, one_line, reading
from cubie.cli.files import require_writable
from cubie.cli.method_options import of_method
from cubie.cli.models import ModelOptions
from cubie.cli.sweep import exporting
from cubie.cli.sweep.peeking import figures_table, outcomes_table, progress_line
from cubie.cli.sweep.running import (
    AUTO,
    DONE,
    SOME_FAILED,
    STOPPED,
    WAYS,
    computed,
    engine,
    name_of,
    watcher,
)  # fmt: skip
from cubie.cli.sweep.study import Given, read_sweep
from cubie.cli.sweep.words import in_words_of_shell
from cubie.cli.views import show
from cubie.distribution import NAME, VERSION
from cubie.labelled.pictures import require_drawable
from cubie.labelled.tables import EVENTS, POINTS, RUNS
from cubie.status import RunStatus
from cubie.sweeps import Sweep
from cubie.sweeps.errors import NeedsFunction
from cubie.sweeps.store import is_there

PICTURES = (".png", ".svg", ".pdf")
FAILED = "failed"
OF_MODEL = ("method", "linear_solver", "preconditioner", "chunk", "seed")  # of what is begun


def _complete_status(ctx, param, incomplete: str):
    names = (FAILED, *(status.name for status in RunStatus))
    return types.starting(names, incomplete)


class SweepCommand(OneLineCommand):
    """The command, which tells what Python's errors advise in words that can be typed."""

    def say(self, message: str) -> None:
        """Tell something on standard error."""
        super().say(in_words_of_shell(message))


@click.command("cubie-sweep", cls=SweepCommand, context_settings=SETTINGS)
@click.argument("target", required=False, shell_complete=types.complete_file)
@click.option(
    "--store",
    metavar="FOLDER",
    shell_complete=types.complete_file,
    help="Where results are kept, such as runs.zarr.",
)
@click.option(
    "--resume", is_flag=True, help="Go on with the sweep in --store, with or without a file."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that compute chunks here.")
@click.option("--dask", metavar="ADDRESS", help="Scheduler of Dask, or the file that it wrote.")
@click.option("--chunk", type=click.IntRange(min=1), help="Runs that are computed and kept as one.")
@click.option("--memory", metavar="SIZE", help="For chunks in flight: bytes, 8G, or 80%.")
@click.option("--seed", type=click.IntRange(min=0), help="Of what is drawn.")
@of_method
@click.option("--max-steps", type=click.IntRange(min=1), help="Short for --option max_steps=N.")
@click.option("--plan", is_flag=True, help="Show what the sweep takes, and compute nothing.")
@click.option("--pilot/--no-pilot", default=True, help="Compute some runs to tell the time of all.")
@click.option(
    "--retry",
    multiple=True,
    metavar="STATUS",
    shell_complete=_complete_status,
    help="Compute runs that ended so once more: failed, or a name such as TOO_MANY_STEPS; "
    "repeatable. --max-steps and --option are changes for them.",
)
@click.option("--peek", is_flag=True, help="Show what is done, and compute nothing.")
@click.option(
    "--plot",
    nargs=2,
    metavar="VARIABLE FILE",
    help='Draw a variable, such as "max of x" map.png (.png, .svg, .pdf).',
)
@click.option("--x", metavar="AXIS", help="Across in the picture.")
@click.option("--y", metavar="AXIS", help="Up in the picture.")
@click.option(
    "--over",
    multiple=True,
    metavar="AXIS",
    help="An axis whose runs are drawn together, as median and bands; repeatable.",
)
@click.option(
    "--sel",
    type=types.ValueType(of_axis=True),
    multiple=True,
    help="Where to look along another axis, such as beta=2.5; repeatable.",
)
@click.option(
    "--export",
    metavar="FILE",
    shell_complete=types.complete_file,
    help="Write results as .nc, or as a table, .csv or .parquet.",
)
@click.option(
    "--rows",
    type=click.Choice([RUNS, POINTS, EVENTS]),
    help="Of a table that is exported: by default points where t_eval is given, else runs.",
)
@click.option(
    "--progress",
    type=click.Choice(WAYS),
    default=AUTO,
    show_default=True,
    help="A bar on standard error (auto: on a terminal), or a line of JSON for each chunk on "
    "standard output.",
)
@click.option("--quiet", is_flag=True, help="No bar, no tables, no messages but errors.")
@click.version_option(VERSION, package_name=NAME)
def main(**options: Any) -> int:
    """Compute many runs of a model over axes, kept in a store, in chunks.

    TARGET is a model file, .toml or .json, as cubie-plan reads it: equations, or function =
    "file.py:function"; states and parameters with their values; drivers, observables,
    summaries, events, method, options. Beside these it has t_span, perhaps t_eval, and a
    table sweep: what varies.

    \b
      [sweep.grid]
      rho = {start = 0, stop = 21, num = 400}
      sigma = [8, 10, 12]

    Where --store holds a part of the same sweep, that goes on with what is left. Without
    TARGET, --resume and --retry go on with what --store holds, and --peek, --plot and --export
    look at it, while another process computes, too.

    \b
    Exit status: 0 all runs done; 3 all done, and some of them failed; 1 stopped, or does
    not fit: what is done is kept; 2 wrong usage or input; 130 Ctrl-C, 143 SIGTERM: what is
    done is kept. Tables go to standard output, messages to standard error.

    \b
    Completion: eval "$(_CUBIE_SWEEP_COMPLETE=bash_source cubie-sweep)", or
    zsh_source, fish_source.
    """
    with main.telling(options["quiet"]):
        return _run(options)


def _run(options: dict[str, Any]) -> int:
    _check(options)
    sweep, fun = _opened(options)
    if not options["quiet"]:
        for note in sweep.notes:
            main.say_once(one_line(note))
    _check_names(sweep, options)
    if options["plan"]:
        return _plan(sweep, options)
    status = DONE
    if not options["peek"] and (options["target"] or options["resume"] or options["retry"]):
        status = _compute(sweep, fun, options)
        if status not in (DONE, SOME_FAILED):
            return status
    if options["peek"]:
        _peek(sweep, options)
    if options["plot"]:
        _plot(sweep, options)
    if options["export"]:
        _export(sweep, options)
    return status


def _check(options: dict[str, Any]) -> None:
    """Refuse what contradicts itself, or could only fail after the work is done."""
    target, store = options["target"], options["store"]
    if target and not Path(target).exists():
        raise InputError(f"{target}: No such file or directory")
    shown = [name for name in ("plan", "peek", "plot", "export") if options[name]]
    for name in ("resume", "retry", "peek"):
        if options[name] and not store:
            raise InputError(f"--{name} needs --store, where the sweep is")
    if not target and not store:
        raise InputError("give a model file with a table `sweep`, or --store with --resume")
    if not target and not shown and not options["resume"] and not options["retry"]:
        raise InputError(
            f"what is to be done with {store}? --resume goes on, --peek shows what there is"
        )
    if target and not store and not shown:
        raise InputError("results go nowhere: give --store runs.zarr, or --export, or --plot")
    for first, second in (("plan", "peek"), ("plan", "retry"), ("peek", "retry"),
                          ("dask", "workers")):  # fmt: skip
        if options[first] and options[second]:
            raise InputError(f"--{first} and --{second} do not go together")
    if options["retry"] and not options["options"] and options["max_steps"] is None:
        raise InputError(
            "--retry changes nothing: the same runs would end in the same way; give --max-steps N, "
            "or --option rtol=..., atol or max_step. Chunks that are not done --resume goes on with"
        )
    if not target:
        _refuse_of_new(options)
    for name, of in (("sel", "plot"), ("over", "plot"), ("x", "plot"), ("y", "plot"),
                     ("rows", "export")):  # fmt: skip
        if options[name] and not options[of]:
            raise InputError(f"--{name} is of --{of}")
    if options["plot"]:
        require_writable("--plot", options["plot"][1], PICTURES)
        if importlib.util.find_spec("matplotlib") is None:
            raise InputError("--plot needs matplotlib: pip install 'cubie-ode[plot]'")
    if options["export"]:
        require_writable("--export", options["export"], exporting.SUFFIXES)
        exporting.require_writer(options["export"])


def _check_names(sweep: Sweep, options: Mapping[str, Any]) -> None:
    """Refuse what the results cannot be drawn or exported as, before they are computed."""
    if options["plot"]:
        what = options["plot"][0]
        with reading(f"--plot {what}"):
            require_drawable(sweep.outline(), what, **_of_picture(options))
    if options["export"]:
        exporting.require_exportable(sweep.outline(), options["export"], options["rows"])


def _of_picture(options: Mapping[str, Any]) -> dict[str, Any]:
    over, sel = options["over"] or None, dict(options["sel"]) or None
    return {"x": options["x"], "y": options["y"], "over": over, "sel": sel}


def _refuse_of_new(options: Mapping[str, Any]) -> None:
    """Refuse options of a sweep that begins, where one goes on."""
    names = [*OF_MODEL, *([] if options["retry"] else ["options", "max_steps"])]
    for name in names:
        if options[name]:
            option = f"--{name.replace('_', '-').removesuffix('s' if name == 'options' else '')}"
            raise InputError(
                f"{option} is of a sweep that begins: without a model file it goes on as it is"
            )


def _opened(options: Mapping[str, Any]) -> tuple[Sweep, Any]:
    """Return the sweep, and the function that it is of where a file of this machine has that."""
    target, store = options["target"], options["store"]
    needed = options["resume"] or options["retry"] or options["peek"] or not target
    if needed and not is_there(store):
        raise InputError(f"{store}: there is no sweep; begin one with a model file")
    if not target:
        try:
            return Sweep.resume(store, memory=options["memory"] or "80%"), None
        except NeedsFunction as error:
            raise InputError(
                f"{store}: its function could not be traced, and is not in the store: give the "
                "model file, too"
            ) from error
    model = {name: options[name] for name in OF_MODEL if name not in ("chunk", "seed")}
    if not options["retry"]:
        model["options"] = (*options["options"], *_max_steps(options))
    given = Given(
        ModelOptions.of(model), store, options["chunk"], options["memory"], options["seed"]
    )
    sweep, made_of = read_sweep(target, given)
    return sweep, made_of.fun if made_of.place else None


def _max_steps(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [] if options["max_steps"] is None else [("max_steps", options["max_steps"])]


# ---- what is done ------------------------------------------------------------------------


def _plan(sweep: Sweep, options: Mapping[str, Any]) -> int:
    plan = sweep.pilot() if options["pilot"] else sweep.plan
    if options["workers"]:
        plan = sweep.plan_with(options["workers"])
    if not options["quiet"]:
        print(f"{name_of(options)}: {sweep.n_chunks_done:,} of {sweep.n_chunks:,} chunks done")
        print(in_words_of_shell(str(plan)))
    return STOPPED if plan.lack else DONE


def _compute(sweep: Sweep, fun: Any, options: Mapping[str, Any]) -> int:
    told = {
        "workers": options["workers"],
        "progress": watcher(options["progress"], options["quiet"]),
    }
    with engine(options["dask"], fun if options["dask"] or options["workers"] else None) as client:

        def compute() -> None:
            if options["retry"]:
                _retry(sweep, options, {"executor": client, **told})
            else:
                sweep.run(client, **told)

        return computed(sweep, compute, main.say, options, main.words)


def _retry(sweep: Sweep, options: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    which = list(options["retry"])
    changes = dict([*options["options"], *_max_steps(options)])
    with reading("--retry"):
        sweep.retry(FAILED if which == [FAILED] else which, **told, **changes)


def _peek(sweep: Sweep, options: Mapping[str, Any]) -> None:
    if options["quiet"]:
        return
    counts = sweep.counts()
    show(outcomes_table(f"{name_of(options)}: {progress_line(sweep)}", counts), sys.stdout)
    print()
    figures = figures_table(sweep)
    print(figures) if isinstance(figures, str) else show(figures, sys.stdout)


def _plot(sweep: Sweep, options: Mapping[str, Any]) -> None:
    what, file = options["plot"]
    import matplotlib

    matplotlib.use("Agg")
    with reading(f"--plot {what}"):
        axes = sweep.plot(what, **_of_picture(options))
        axes.figure.savefig(file, bbox_inches="tight")


def _export(sweep: Sweep, options: Mapping[str, Any]) -> None:
    if sweep.n_chunks_done < sweep.n_chunks:
        main.say(f"--export {options['export']}: {progress_line(sweep)}; the rest has no results")
    failed = sum(n for status, n in sweep.counts().items() if status < 0)
    if failed and not options["quiet"]:
        main.say(
            f"--export {options['export']}: {failed:,} of {sweep.n_runs:,} runs failed; what is "
            "written of them are no results, and their `status` is negative"
        )
    exporting.export(sweep.peek(), options["export"], options["rows"])
