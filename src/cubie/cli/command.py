"""The command `cubie-plan`: its options, its outputs and its exit status."""

from __future__ import annotations

import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import click

from cubie.cli.errors import InputError, one_line, reading
from cubie.cli.inputs import Source, read_source
from cubie.cli.models import ModelOptions
from cubie.cli.requests import AUTO, Pin, Request
from cubie.cli.studies import verify as verified
from cubie.cli.studies import what_if as other_limits
from cubie.cli.views import plan_csv, show, show_plan
from cubie.errors import CubieError
from cubie.sizes import parse_size
from cubie_planner import (
    Plan,
    PlanInfeasible,
    PlanRejected,
    PlanUnknown,
    ProblemError,
    report,
)
from cubie_planner import plan as make_plan
from cubie_planner.cost import CostError
from cubie_planner.device import Device, DeviceError
from cubie_planner.explain import explain as explanation

DEFAULT_DEVICE = "sm_90"
PICTURES = (".png", ".svg", ".pdf")
WRONG_INPUT = (InputError, CubieError, ProblemError, PlanRejected, DeviceError, CostError, OSError)


class SizeType(click.ParamType):
    """Bytes, with or without a unit, or a device's limit."""

    name = "size"

    def convert(self, value: Any, param, ctx) -> tuple[int, str]:
        """Return bytes, and the text, which may name a device."""
        if isinstance(value, tuple):
            return value
        try:
            text = str(value).strip()
            size = parse_size(
                f"--{param.name.replace('_', '-')}" if param and param.name else "size",
                int(text) if text.isdecimal() else text,
            )
        except (CubieError, DeviceError) as error:
            raise click.ClickException(one_line(error)) from error
        assert size is not None
        return size, text


class DeviceType(click.ParamType):
    """A compute capability."""

    name = "arch"

    def convert(self, value: Any, param, ctx) -> Device:
        """Return the device of the table."""
        if isinstance(value, Device):
            return value
        try:
            return Device.parse(str(value))
        except DeviceError as error:
            self.fail(str(error), param, ctx)


class PinType(click.ParamType):
    """A buffer's place."""

    name = "name=location[@offset]"

    def convert(self, value: Any, param, ctx) -> Pin:
        """Return the pin."""
        if isinstance(value, Pin):
            return value
        try:
            return Pin.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class BlockSizeType(click.ParamType):
    """Runs per block, or the word that lets the cost model choose."""

    name = "N|auto"

    def convert(self, value: Any, param, ctx) -> int | str:
        """Return the number, or "auto"."""
        if value == AUTO:
            return AUTO
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a number of runs from 1 on nor 'auto'", param, ctx)
        return int(value)


class PlanCommand(click.Command):
    """A command whose errors are one line each, and whose return value is its exit status."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run, and leave with status 2 for anything wrong with what was given."""
        try:
            status = super().main(*args, standalone_mode=False, **extra)
        except click.ClickException as error:
            _say(one_line(error.format_message()))
            status = 2
        except click.Abort:
            _say("interrupted")
            status = 130
        sys.exit(status)


def _say(message: str) -> None:
    click.echo(f"cubie-plan: {message}", err=True)


@click.command(
    "cubie-plan", cls=PlanCommand, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.argument("target")
@click.option("--states", type=click.IntRange(min=1), help="States of a right-hand side.")
@click.option("--args", metavar="JSON", help="Its further arguments, a list; 1.0 each by default.")
@click.option("--method", help="Method of a model, such as tsit5 or rodas4.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Of a model's states.")
@click.option("--block-size", type=BlockSizeType(), help="Runs per block, or auto.")
@click.option("--max-shared", type=SizeType(), help="Of a block: 49152, 48k, 99KiB or sm_90.")
@click.option("--capacity", type=SizeType(), help="Size of the memory of a MiniMalloc CSV.")
@click.option("--pin", "pins", type=PinType(), multiple=True, help="Place a buffer; repeatable.")
@click.option(
    "--locations",
    type=click.Choice(["auto", "local", "shared"]),
    help="Where buffers without a pin go.",
)
@click.option("--arch", type=DeviceType(), help="Target device, such as sm_90.")
@click.option("--previous", metavar="PLAN", help="Stay close to this saved plan.")
@click.option("--check", is_flag=True, help="Verify a saved plan, and only say so.")
@click.option("--output", metavar="FILE", help="Save the plan as JSON.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Of the plan on standard output.",
)
@click.option("--plot", metavar="FILE", help="Draw the memory map (.png, .svg, .pdf).")
@click.option("--explain", is_flag=True, help="Say what the peak is made of; price every pin.")
@click.option("--verify", is_flag=True, help="Compile a model for --arch (needs no GPU).")
@click.option("--what-if", is_flag=True, help="Try block sizes 32..512 and limits 48..227 KiB.")
@click.option("--quiet", is_flag=True, help="No plan table, no messages but errors.")
@click.version_option(package_name="cubie")
def main(target: str, **options: Any) -> int:
    """Plan the memory of a model's kernel, or of any planner problem, without a GPU.

    TARGET is one of

    \b
      file.py:function     a right-hand side f(t, y, *args), with --states
      module:function      the same, from an importable module
      model.toml, .json    equations, states, parameters, method, options
      problem.json, .csv   buffers: a planner problem, or MiniMalloc's CSV
      plan.json            a plan saved by --output

    Only file.py:function and module:function run code; files are read as data.
    A model is planned for --arch sm_90 and its limit unless options say otherwise.

    \b
    Exit status: 0 planned; 1 no plan: proven impossible, or none found;
    2 wrong usage or input. The plan goes to standard output, messages to
    standard error; with --format json or csv, so do --explain, --verify
    and --what-if.

    \b
    Completion: eval "$(_CUBIE_PLAN_COMPLETE=bash_source cubie-plan)", or
    zsh_source, fish_source.
    """
    with warnings.catch_warnings():
        if not options["quiet"]:
            warnings.showwarning = lambda message, *_, **__: _say(one_line(message))
        else:
            warnings.simplefilter("ignore")
        try:
            return _run(target, **options)
        except PlanInfeasible as error:
            return _say_infeasible(target, error)
        except PlanUnknown as error:
            _say(f"{target}: {one_line(error)}")
            return 1
        except BrokenPipeError:
            raise  # click leaves quietly: who reads the output has seen enough
        except WRONG_INPUT as error:
            raise click.ClickException(one_line(error)) from error


def _run(target: str, **options: Any) -> int:
    _check_outputs(options)
    source = _read(target, options)
    if options["verify"] and source.kernel is None:
        raise InputError(f"--verify compiles a model, and {target} is none")
    if options["check"]:
        return _tell_checked(source, options)
    plan = source.plan or _make(source, options)
    if options["output"]:
        plan.save(options["output"])
    if options["plot"]:
        _draw(plan, options["plot"])
    _print(plan, source, options)
    return 0


def _check_outputs(options: dict[str, Any]) -> None:
    """Refuse what could only fail after the work is done."""
    if options["plot"] and Path(options["plot"]).suffix not in PICTURES:
        raise InputError(f"--plot {options['plot']}: must end in {', '.join(PICTURES)}")
    for option in ("output", "plot"):
        folder = Path(options[option] or ".").parent
        if not folder.is_dir():
            raise InputError(f"--{option} {options[option]}: there is no folder {folder}")


def _read(target: str, options: dict[str, Any]) -> Source:
    model = ModelOptions(*(options[name] for name in ("states", "args", "method", "dtype")))
    capacity = options["capacity"]
    source = read_source(target, model, None if capacity is None else capacity[0])
    if source.plan is None:
        return source
    asked = ("block_size", "max_shared", "pins", "locations", "arch", "previous")
    for name in asked:
        if options[name]:
            option = f"--{name.replace('_', '-').removesuffix('s' if name == 'pins' else '')}"
            raise InputError(f"{option} changes nothing in {target}, which is a finished plan")
    return source


def _tell_checked(source: Source, options: dict[str, Any]) -> int:
    if source.plan is None:
        raise InputError(f"--check needs a saved plan, and {source.name} is none")
    if not options["quiet"]:
        click.echo(f"{source.name}: accepted ({source.plan.status})")
    return 0


def _make(source: Source, options: dict[str, Any]) -> Plan:
    start = time.perf_counter()
    request = _request(options, source.kernel is not None)
    plan = make_plan(request.applied_to(source.problem, source.kernel is not None))
    if not options["quiet"]:
        _say(f"planned in {time.perf_counter() - start:.2g} s")
    return plan


def _request(options: dict[str, Any], model: bool) -> Request:
    size, text = options["max_shared"] or (None, "")
    device = options["arch"]
    if device is None and model:
        device = Device.parse(text if text.lower().startswith("sm_") else DEFAULT_DEVICE)
    previous = None
    if options["previous"]:
        with reading(f"--previous {options['previous']}"):
            previous = Plan.load(options["previous"])
    return Request(
        block_size=options["block_size"],
        max_shared=size,
        device=device,
        locations=options["locations"],
        pins=options["pins"],
        previous=previous,
    )


def _draw(plan: Plan, path: str) -> None:
    try:
        report.plot(plan, path)
    except ImportError as error:
        raise InputError("--plot needs matplotlib: pip install 'cubie[plot]'") from error


def _print(plan: Plan, source: Source, options: dict[str, Any]) -> None:
    """Print the plan, and further tables where they cannot be taken for it."""
    style, quiet = options["style"], options["quiet"]
    if style != "table":
        click.echo(plan.to_json() if style == "json" else plan_csv(plan), nl=False)
    elif not quiet:
        show_plan(plan, source.name)
    stream = sys.stdout if style == "table" else sys.stderr
    if options["explain"]:
        print(f"\n{explanation(plan)}", file=stream)
    for option, study in (("verify", partial(verified, source)), ("what_if", other_limits)):
        if options[option]:
            print(file=stream)
            show(study(plan), stream)


def _say_infeasible(target: str, error: PlanInfeasible) -> int:
    """Tell what clashes, and the ways out that were computed."""
    _say(f"{target}: infeasible: {one_line(error)}")
    if error.core:
        proven = "" if error.irreducible else " (perhaps not the smallest)"
        click.echo(f"  core: {', '.join(error.core)}{proven}", err=True)
    if error.limit is not None:
        click.echo(f"  limit: {error.limit} B per block", err=True)
    remedies = []
    if error.largest_block:
        remedies.append(f"--block-size {error.largest_block}")
    if error.needed is not None:
        remedies.append(f"--max-shared {error.needed}")
    if remedies:
        click.echo(f"  remedies: {' or '.join(remedies)}", err=True)
    return 1
