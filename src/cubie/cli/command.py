"""The command `cubie-plan`: its options, its outputs and its exit status."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.table import Table

from cubie.cli import types
from cubie.cli.base import SETTINGS, OneLineCommand
from cubie.cli.checked import checked_lines
from cubie.cli.errors import InputError, one_line, reading
from cubie.cli.files import require_writable
from cubie.cli.inputs import Source, read_source
from cubie.cli.method_options import of_method
from cubie.cli.models import ModelOptions
from cubie.cli.objectives import COST, OBJECTIVES, planner
from cubie.cli.remedies import remedies
from cubie.cli.requests import Request, device_of, note_on_device
from cubie.cli.verify import candidates_table, settled, verify
from cubie.cli.views import show, show_plan
from cubie.cli.what_if import limits_table, pins_table, smallest_limit
from cubie.distribution import NAME, VERSION
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import MAX_BLOCKS, REGISTERS
from cubie_planner import Plan, PlanInfeasible, PlanUnknown, plan_to_csv, report
from cubie_planner.checked import Verdict
from cubie_planner.engines.task import LIMIT
from cubie_planner.explain import explain as explanation
from cubie_planner.report.page import html
from cubie_planner.solve import EFFORT

SUFFIXES = {"plot": (".png", ".svg", ".pdf"), "html": (".html", ".htm")}
SMALLEST_UNKNOWN = (
    "smallest max_shared that keeps the cost of this plan: not known, planning again costs more"
)


def _say(message: str) -> None:
    main.say(message)


@click.command("cubie-plan", cls=OneLineCommand, context_settings=SETTINGS)
@click.argument("target", shell_complete=types.complete_file)
@click.option("--states", type=click.IntRange(min=1), help="States of a right-hand side.")
@click.option("--args", metavar="JSON", help="Its further arguments, a list; 1.0 each by default.")
@click.option(
    "--driver",
    "drivers",
    type=types.DriverType(),
    multiple=True,
    help="Which of them is an Interpolant, and its name in the same file; repeatable.",
)
@of_method
@click.option(
    "--observables",
    metavar="NAMES",
    help="Of a right-hand side, a function in the same file; of a model, what its equations "
    "define, with commas.",
)
@click.option(
    "--sensitivities",
    metavar="NAMES",
    help="What a model's solution is differentiated by: all, parameters, y0, or names such as "
    "k1,y0[2].",
)
@click.option(
    "--summary",
    "summaries",
    type=types.SummaryType(),
    multiple=True,
    help='Of a model, such as y0:max or "v:crossings(0.5)"; repeatable.',
)
@click.option(
    "--event",
    "events",
    multiple=True,
    help="Of a right-hand side, a function in the same file; of a model, text; repeatable.",
)
@click.option("--dense-output", is_flag=True, default=None, help="Keep a model's solution.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Of a model's states.")
@click.option("--block-size", type=types.BlockSizeType(), help="Runs per block, or auto.")
@click.option("--max-shared", type=types.SizeType(), help="Of a block: 49152, 48k, 99KiB or sm_90.")
@click.option("--max-registers", type=click.IntRange(*REGISTERS), help="Of a thread, at most.")
@click.option(
    "--min-blocks",
    type=click.IntRange(1, MAX_BLOCKS),
    help="To be resident on a multiprocessor: limits the registers of a thread.",
)
@click.option("--capacity", type=types.SizeType(), help="Size of the memory of a MiniMalloc CSV.")
@click.option(
    "--pin", "pins", type=types.PinType(), multiple=True, help="Place a buffer; repeatable."
)
@click.option(
    "--locations",
    type=click.Choice(["auto", "local", "shared", "global"]),
    help="Where buffers without a pin go.",
)
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="What locations auto minimise first: the modelled cost (default), shared bytes, or "
    "the bytes of buffers outside shared memory.",
)
@click.option(
    "--arch",
    "--device",
    "arch",
    type=types.DeviceType(),
    help="Target device: an architecture such as sm_90, or a card such as H100.",
)
@click.option(
    "--previous",
    metavar="PLAN",
    shell_complete=types.complete_file,
    help="Stay close to this saved plan.",
)
@click.option(
    "--effort",
    type=click.FloatRange(min=0),
    help=f"Units of work, not of time, to search; {EFFORT} by default, inf without end.",
)
@click.option("--fits", is_flag=True, help="Take the first plan within the limits, lower nothing.")
@click.option("--check", is_flag=True, help="Verify a saved plan, and only say so.")
@click.option(
    "--output", metavar="FILE", shell_complete=types.complete_file, help="Save the plan as JSON."
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Of the plan on standard output.",
)
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=types.complete_file,
    help="Draw the memory map (.png, .svg, .pdf).",
)
@click.option(
    "--theme",
    type=click.Choice(["light", "dark"]),
    default="light",
    show_default=True,
    help="Of the picture; a page follows its reader's system.",
)
@click.option(
    "--html",
    metavar="FILE",
    shell_complete=types.complete_file,
    help="Write everything about the plan as one page.",
)
@click.option(
    "--explain", is_flag=True, help="Say what the peak is made of, with lines of code; price pins."
)
@click.option("--verify", is_flag=True, help="Compile a model for --arch (needs no GPU).")
@click.option(
    "--what-if",
    is_flag=True,
    help="Try block sizes 32..512, limits 48..227 KiB, no pins, and smaller limits.",
)
@click.option("--quiet", is_flag=True, help="No plan table, no messages but errors.")
@click.version_option(VERSION, package_name=NAME)
def main(target: str, **options: Any) -> int:
    """Plan the memory of a model's kernel, or of any planner problem, without a GPU.

    TARGET is one of

    \b
      file.py:function     a right-hand side f(t, y, *args), with --states
      module:function      the same, from an importable module
      model.toml, .json    equations, or function = "file.py:function"; states, parameters,
                           drivers, observables, summaries, events, method, options
      model.xml, .sbml     a model in SBML
      problem.json, .csv   buffers: a planner problem, or MiniMalloc's CSV
      plan.json            a plan saved by --output

    Only file.py:function and module:function run code, also in a model file; all else is
    read as data.
    A model is planned for --arch sm_90 and its limit unless options say otherwise.

    \b
    Exit status: 0 planned; 1 no plan: proven impossible, or none found;
    2 wrong usage or input, or a compiler that fails. The plan goes to standard
    output, messages to standard error; with --format json or csv, so do
    --explain, --verify and --what-if.

    \b
    Completion: eval "$(_CUBIE_PLAN_COMPLETE=bash_source cubie-plan)", or
    zsh_source, fish_source.
    """
    with main.telling(options["quiet"]):
        try:
            return _run(target, **options)
        except PlanUnknown as error:
            _say(f"{target}: {one_line(error)}")
            return 1


def _run(target: str, **options: Any) -> int:
    _check_outputs(options)
    source = _read(target, options)
    if options["verify"] and source.kernel is None:
        raise InputError(f"--verify compiles a model, and {target} is none")
    if options["check"]:
        return _tell_checked(source, options)
    plan, verdict = source.plan, None
    if plan is None:
        planned = source.problem.limits.compute_capability is not None
        request = _request(options, source.kernel, planned)
        try:
            plan, verdict = _make(source, request, options)
        except PlanInfeasible as error:
            return _say_infeasible(source, request, error)
    _write(plan, source, options)
    _print(plan, source, options, verdict)
    return 0


def _check_outputs(options: dict[str, Any]) -> None:
    """Refuse what could only fail after the work is done."""
    for option in (*SUFFIXES, "output"):
        require_writable(f"--{option}", options[option], SUFFIXES.get(option, ()))


def _read(target: str, options: dict[str, Any]) -> Source:
    model = ModelOptions.of(options)
    capacity = options["capacity"]
    source = read_source(target, model, None if capacity is None else capacity[0])
    if source.plan is None:
        return source
    asked = (
        *("block_size", "max_shared", "max_registers", "min_blocks"),
        *("pins", "locations", "arch", "previous", "objective", "effort", "fits"),
    )
    for name in asked:
        if options[name] not in (None, False, ()):
            option = f"--{name.replace('_', '-').removesuffix('s' if name == 'pins' else '')}"
            raise InputError(f"{option} changes nothing in {target}, which is a finished plan")
    return source


def _tell_checked(source: Source, options: dict[str, Any]) -> int:
    if source.plan is None:
        raise InputError(f"--check needs a saved plan, and {source.name} is none")
    if not options["quiet"]:
        click.echo("\n".join(checked_lines(source.name, source.plan)))
    return 0


def _make(source: Source, request: Request, options: dict[str, Any]) -> tuple[Plan, Verdict | None]:
    """Plan; where the model decides for a device, and that is to be verified, with a verdict."""
    start = time.perf_counter()
    asked = request.applied_to(source.problem, source.kernel is not None)
    unlisted = note_on_device(asked)
    if unlisted and request.device is None and not options["quiet"]:
        _say(unlisted)
    proposed = asked.policy == "auto" and asked.limits.compute_capability is not None
    told, verdict = "", None
    if source.kernel is not None and proposed and request.objective == COST:
        told = "; unverified: places are the cost model's alone, and --verify compiles candidates"
        if options["verify"] and not asked.previous:
            if options["fits"] or options["effort"] is not None:
                raise InputError(
                    "--fits and --effort say how one plan is searched, and --verify compiles "
                    "several: leave them out, or give --objective shared"
                )
            free = not options["block_size"]
            verdict, told = settled(source.kernel, asked, any_block_size=free), ""
    make = planner(request.objective, _effort(options), options["fits"])
    plan = make(asked) if verdict is None else verdict.plan
    if not options["quiet"]:
        _say(f"planned in {time.perf_counter() - start:.2g} s{told}")
    return plan, verdict


def _effort(options: dict[str, Any]) -> float:
    return EFFORT if options["effort"] is None else options["effort"]


def _request(options: dict[str, Any], kernel: BatchSolverKernel | None, planned: bool) -> Request:
    """Return what was asked for; `planned` tells that a model names its device itself."""
    size, text = options["max_shared"] or (None, "")
    device = options["arch"]
    if device is None and kernel is not None and not planned:
        device = device_of(text)
    if device is not None and device.device.note and not options["quiet"]:
        _say(device.device.note)
    given = None if kernel is None else kernel.config.min_blocks  # of a model's own options
    previous = None
    if options["previous"]:
        with reading(f"--previous {options['previous']}"):
            previous = Plan.load(options["previous"])
    return Request(
        block_size=options["block_size"],
        max_registers=options["max_registers"],
        min_blocks=options["min_blocks"] or given,
        max_shared=size,
        device=device,
        locations=options["locations"],
        pins=options["pins"],
        previous=previous,
        objective=options["objective"] or COST,
    )


def _write(plan: Plan, source: Source, options: dict[str, Any]) -> None:
    if options["output"]:
        plan.save(options["output"])
    if options["plot"]:
        try:
            report.plot(plan, options["plot"], theme=options["theme"], phases=source.phases)
        except ImportError as error:
            raise InputError("--plot needs matplotlib: pip install 'cubie-ode[plot]'") from error
    if options["html"]:
        make = planner(options["objective"] or COST, _effort(options))
        told = explanation(plan, make, source.recording)
        html(plan, options["html"], name=source.name, phases=source.phases, explanation=told)


def _print(plan: Plan, source: Source, options: dict[str, Any], verdict: Verdict | None) -> None:
    """Print the plan, and further tables where they cannot be taken for it."""
    style, quiet = options["style"], options["quiet"]
    if style != "table":
        click.echo(plan.to_json() if style == "json" else plan_to_csv(plan), nl=False)
    elif not quiet:
        show_plan(plan, source.name)
    stream = sys.stdout if style == "table" else sys.stderr
    first = quiet or style != "table"
    for answer in _answers(plan, source, options, verdict):
        if not first:
            print(file=stream)
        show(answer, stream) if isinstance(answer, Table) else print(answer, file=stream)
        first = False


def _answers(
    plan: Plan, source: Source, options: dict[str, Any], verdict: Verdict | None
) -> Iterator[Table | str]:
    """Yield what was asked about the plan."""
    make = planner(options["objective"] or COST, _effort(options))
    if options["explain"]:
        yield from (str(explanation(plan, make, source.recording)), *source.unrecorded)
        yield from source.choices
    if options["verify"]:
        yield verify(source, plan, make)
    if verdict is not None:
        yield candidates_table(verdict)
        yield verdict.reason
    if options["what_if"]:
        yield limits_table(plan, make)
        pins = pins_table(plan, make)
        if pins is not None:
            yield pins
        yield str(smallest_limit(plan, make) or SMALLEST_UNKNOWN)


def _say_infeasible(source: Source, request: Request, error: PlanInfeasible) -> int:
    """Tell what clashes, and the ways out that were tried."""
    _say(f"{source.name}: infeasible: {one_line(error)}")
    if error.core:
        proven = "" if error.irreducible else " (perhaps not the smallest)"
        click.echo(f"  core: {', '.join(error.core)}{proven}", err=True)
    if error.limit is not None and LIMIT in error.core:
        click.echo(f"  limit: {error.limit} B per block", err=True)
    for remedy in remedies(source.problem, request, source.kernel is not None, error):
        click.echo(f"  remedy: {remedy}", err=True)
    return 1
