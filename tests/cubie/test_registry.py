"""The buffer registry: declarations, composition, totals (B1-B12), and who owns them (K8, K9)."""

import attrs
import numpy as np
import pytest

from cubie import BufferLocation, BufferRegistry, CUDABuffer, CUDAFactory
from cubie.backend.cpu.target import CPUBackend
from cubie.backend.interpreted.python import PythonBackend
from cubie.controllers import CONTROLLERS
from cubie.integrator import ALGORITHMS, RunSettings, SingleIntegratorRun
from cubie.launch.capacity import Kept
from cubie.launch.inputs import make_inputs
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.outputs import PerRun, make_outputs
from cubie.launch.planned import BatchSolverConfig
from cubie.run.saving import SaveMode
from cubie.systems import trace
from cubie.tableaus import SwitchingMethod, all_methods, get_method
from cubie_planner import Alias, Limits, check

N_STATES = 3


def chain(t, y, rate):
    """A chain of decays, with one parameter."""
    return [-rate * y[0], rate * y[0] - y[1], y[1] - y[2]]


@pytest.fixture(scope="module")
def system():
    """The traced system that all runs here integrate."""
    return trace(chain, N_STATES, (2.0,))


def supported_methods():
    """Names of the methods there is an algorithm for."""
    return [t.name for t in all_methods().values() if type(t) in ALGORITHMS]


def make_run(system, method="tsit5", dtype=np.float64, options=None, **settings):
    """Return an integrator; methods without an error estimate get a first step."""
    tableau = get_method(method)
    given = settings.pop("first_step_given", not tableau.has_error_estimate)
    settings = RunSettings(tableau, first_step_given=given, **settings)
    return SingleIntegratorRun(system, settings, dtype, options or {})


# ---- one buffer (B1, B2, B3, B8, B9) ----------------------------------------


def test_one_class_holds_all_about_a_buffer():
    """Name, size, location, dtype, persistence, aliases, enabling, lifetime: said once (B1)."""
    fields = {field.name for field in attrs.fields(CUDABuffer)}
    expected = {"name", "size", "location", "dtype", "persistent", "aliases", "enabled", "phases"}
    assert expected <= fields
    buffer = CUDABuffer(name="work", size=4, dtype="f8")
    assert buffer.option == "work_location"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        buffer.size = 5


@pytest.mark.parametrize("word", ["shared", "local", "local_persistent"])
def test_locations_are_an_enumeration_with_plain_words(word):
    """Users may write the words (B2)."""
    buffer = CUDABuffer(name="work", size=4, dtype="f8", location=word)
    assert buffer.location is BufferLocation(word)


def test_a_misspelt_location_names_the_nearest_word():
    """A typo is an error that helps (B2)."""
    with pytest.raises(ValueError, match="did you mean 'shared'"):
        CUDABuffer(name="work", size=4, dtype="f8", location="shred")


def test_sizes_are_evaluated_when_the_layout_is_made():
    """A callable size follows the settings it looks at, until the plan is made (B3)."""
    sizes = {"work": 3}
    registry = BufferRegistry("component", ("run",), "f8")
    registry.register(CUDABuffer(name="work", size=lambda: sizes["work"], dtype="f8"))
    assert registry.local_memory_elements == 3
    sizes["work"] = 7
    assert registry.local_memory_elements == 7


@pytest.mark.parametrize("enabled", [False, lambda: False], ids=["flag", "callback"])
@pytest.mark.parametrize("location", [None, "shared", "local", "local_persistent"])
def test_a_disabled_buffer_counts_nothing_anywhere(enabled, location):
    """It keeps its option and has no bytes, wherever it is pinned (B8)."""
    registry = BufferRegistry("component", ("run",), "f8")
    registry.register(
        CUDABuffer(name="cache", size=5, dtype="f8", location=location, enabled=enabled)
    )
    placement = registry.lay_out("shared").plan.placements["component.cache"]
    assert (placement.size_bytes, placement.n_elements, placement.offset) == (0, 0, None)
    assert registry.shared_memory_elements == 0
    assert registry.local_memory_elements == 0
    assert registry.persistent_local_elements == 0


def test_enabling_is_decided_when_the_layout_is_made():
    """A callback may look at settings made after the buffer was registered (B8)."""
    on = []
    registry = BufferRegistry("component", ("run",), "f8")
    registry.register(CUDABuffer(name="cache", size=5, dtype="f8", enabled=lambda: bool(on)))
    assert registry.local_memory_elements == 0
    on.append(True)
    assert registry.local_memory_elements == 5


def test_integer_buffers_have_their_own_dtype(system):
    """Counters are int32 whatever the run's dtype, and are counted in its elements (B9)."""
    for dtype in (np.float32, np.float64):
        registry = make_run(system, dtype=dtype).loop.buffer_registry
        assert registry.buffers["proposed_counters"].dtype == np.int32
        assert registry.buffers["counters"].dtype == np.int32
        assert registry.buffers["state"].dtype == dtype
    integers = BufferRegistry("component", ("run",), "f8")
    integers.register(CUDABuffer(name="flags", size=3, dtype="i4"))
    assert integers.local_memory_elements == 2, "12 bytes are two float64"


@pytest.mark.parametrize("location", [None, "local", "local_persistent"])
def test_a_buffer_kept_across_calls_is_never_a_frames_local(location):
    """Asked to be local, what survives a call is local_persistent, and counted there (B7)."""
    registry = BufferRegistry("component", ("run",), "f8")
    registry.register(
        CUDABuffer(name="cache", size=2, dtype="f8", persistent=True, location=location)
    )
    assert registry.persistent_local_elements == 2
    assert registry.local_memory_elements == 0


# ---- composition (B4, B5, B11, B12) -----------------------------------------


class Part(CUDAFactory):
    """A component that owns one buffer, and calls another one."""

    name = "part"
    phases = ("before", "call", "after")

    def __init__(self, name, size, child=None, options=None, **declaration):
        self.name = name
        super().__init__("f8", options or {})
        self.register_buffer(f"{name}_work", size, **declaration)
        if child is not None:
            self.add_child(child, during="call")

    def build(self, context):
        """Not built here."""
        raise NotImplementedError


def nest(options=None, **declaration):
    """Loop, algorithm, Newton and linear solver, each with one buffer."""
    child = None
    for name, size in (("linear", 4), ("newton", 3), ("algorithm", 2), ("loop", 1)):
        child = Part(name, size, child, options, **declaration)
    return child


def test_totals_of_a_tree_need_no_help_from_its_middle():
    """Four levels compose; every level's totals are those of the tree below it (B4)."""
    tree = nest()
    assert tree.buffer_registry.local_memory_elements == 1 + 2 + 3 + 4
    child = tree.children["algorithm"]
    assert child.buffer_registry.local_memory_elements == 2 + 3 + 4
    pinned = nest({"newton_work_location": "shared", "linear_work_location": "local_persistent"})
    totals = pinned.buffer_registry
    assert totals.shared_memory_elements == 3
    assert totals.persistent_local_elements == 4
    assert totals.local_memory_elements == 1 + 2


def test_callees_never_called_together_share_bytes():
    """Children of different phases overlap; what the caller holds across a call does not (B4)."""
    for phase, expected in (("before", 8), ("call", 14)):
        parent = Part("parent", 6, phases=(phase,))
        parent.add_child(Part("one", 8, phases=("call",)), during="call")
        parent.add_child(Part("two", 5, phases=("call",)), during="after")
        plan = parent.buffer_registry.lay_out("shared").plan
        assert parent.buffer_registry.elements(plan.shared_bytes_per_run) == expected


def test_every_component_has_a_registry_that_holds_those_below(system):
    """`buffer_registry` of each component reaches all buffers it and its callees own (B5)."""
    run = make_run(system)
    for component in run.loop.walk():
        held = {name for name, _ in component.buffer_registry.walk()}
        own = set(component.buffer_registry.buffers)
        below = [{n for n, _ in c.buffer_registry.walk()} for c in component.children.values()]
        assert held == own.union(*below)


def test_registering_is_all_a_new_buffer_needs():
    """One line gives it bytes, an option and an allocator's placement (B12)."""
    tree = nest()
    newton = tree.children["algorithm"].children["newton"]
    assert "residual_location" not in tree.options()
    newton.register_buffer("residual", 7)
    assert "residual_location" in tree.options()
    assert tree.buffer_registry.local_memory_elements == 10 + 7
    name = "loop.algorithm.newton.residual"
    assert tree.buffer_registry.lay_out().plan.placements[name].n_elements == 7


def test_small_buffers_follow_the_same_pattern(system):
    """`dt` and `accept_step` have options and places like any other (B11)."""
    options = {"dt_location": "shared", "accept_step_location": "shared"}
    registry = make_run(system, options=options).buffer_registry
    assert registry.shared_memory_elements == 2


def test_one_name_twice_is_refused():
    """In one component and in one tree: an option must mean one buffer."""
    part = Part("part", 3)
    with pytest.raises(ValueError, match="already has a buffer named `part_work`"):
        part.register_buffer("part_work", 3)
    with pytest.raises(ValueError, match="another buffer has that name"):
        Part("part", 3, child=Part("part", 3))


# ---- where bytes lie (B6) ---------------------------------------------------


def shared_spans(plan):
    """Return (start, end, placement) of what is shared, in order."""
    return sorted(
        ((p.offset, p.end, p) for p in plan.shared if p.size_bytes), key=lambda span: span[:2]
    )


def alive_together(a, b):
    """Tell whether two placements share a program point; no lifetime means always."""
    if a.lifetime is None or b.lifetime is None:
        return True
    return any(s < f and g < e for s, e in a.lifetime for g, f in b.lifetime)


@pytest.mark.parametrize("method", supported_methods())
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_shared_slices_are_exact_apart_and_without_gaps(system, method, dtype):
    """No overlap of what lives together, no gap but for alignment, nothing for local ones (B6)."""
    registry = make_run(system, method, dtype).buffer_registry
    plan = registry.lay_out("shared", Limits(block_size=32)).plan
    check(plan.problem, plan)
    spans = shared_spans(plan)
    end = 0
    for start, stop, placement in spans:
        assert stop - start == placement.n_elements * placement.dtype.itemsize
        assert start - end < plan.problem.by_name[placement.name].alignment
        end = max(end, stop)
    assert end == plan.shared_bytes_per_run
    for i, (_, stop, a) in enumerate(spans):
        for start, _, b in spans[i + 1 :]:
            nested = a.name in plan.ancestors(b.name) or b.name in plan.ancestors(a.name)
            apart = start >= stop or not alive_together(a, b)
            assert nested or apart, (a.name, b.name)
    local = registry.lay_out("local").plan
    assert local.shared_bytes_per_run == 0
    assert not local.shared


def test_an_alias_lies_inside_its_parent():
    """A view takes its parent's bytes, and no others (B6)."""
    registry = BufferRegistry("component", ("run",), "f8")
    registry.register(CUDABuffer(name="stack", size=6, dtype="f8"))
    registry.register(
        CUDABuffer(name="part", size=2, dtype="f8", aliases=(Alias("stack", 16),), view=True)
    )
    assert registry.local_memory_elements == 6
    plan = registry.lay_out("shared").plan
    stack, part = (plan.placements[f"component.{name}"] for name in ("stack", "part"))
    assert (part.parent, part.offset) == ("component.stack", stack.offset + 16)
    assert plan.shared_bytes_per_run == 48


# ---- totals are what is allocated (B7) --------------------------------------


class Recording(PythonBackend):
    """The interpreted target, remembering every array that an allocator gave out."""

    def __init__(self):
        super().__init__(np.float64, fastmath=False)
        self.arrays = {}

    def allocator(self, placement):
        """Return the allocator, with a note of what it returns."""
        allocate = super().allocator(placement)

        def recorded(memory, parent):
            array = allocate(memory, parent)
            spaces = memory.shared.contents, memory.persistent.contents
            self.arrays[placement.name] = (array, *spaces)
            return array

        return recorded

    def extent(self, space):
        """Return the end of the last array inside a space: 1 is shared, 2 is persistent."""
        ends = [0]
        for array, *spaces in self.arrays.values():
            contents = spaces[space - 1]
            if array.nbytes and np.shares_memory(array, contents):
                start = array.__array_interface__["data"][0]
                ends.append(start - contents.__array_interface__["data"][0] + array.nbytes)
        return max(ends)

    def local_bytes(self):
        """Return the bytes of arrays that lie in neither space, each counted once."""
        own = [
            array
            for array, *spaces in self.arrays.values()
            if array.nbytes and not any(np.shares_memory(array, space) for space in spaces)
        ]
        spans = ((array.ctypes.data, array.ctypes.data + array.nbytes) for array in own)
        total, reached = 0, 0
        for start, end in sorted(spans):
            total += max(0, end - max(start, reached))
            reached = max(reached, end)
        return total


MIXED = {
    "state_location": "shared",
    "counters_location": "local_persistent",
    "parameters_location": "local_persistent",
}
ADAPTIVE = [name for name, kind in CONTROLLERS.items() if kind.adaptive]
CASES = [(method, None) for method in supported_methods()] + [("tsit5", name) for name in ADAPTIVE]


def iterates(system, method):
    """Tell whether steps of a method solve equations by Newton's method."""
    return make_run(system, method).algorithm.iterates


@pytest.mark.parametrize("locations", ["local", "shared", "mixed"])
@pytest.mark.parametrize(("method", "controller"), CASES)
def test_totals_equal_what_device_functions_allocate(
    monkeypatch, system, method, controller, locations
):
    """Every enabled buffer is allocated, with its size, and they add up to the totals (B7)."""
    options, end = MIXED if locations == "mixed" else {}, 0.02
    if method == "auto":
        # The first step is explicit, and the second one implicit.
        monkeypatch.setattr(SwitchingMethod, "stable_until", 1e-6)
        options, end = options | {"stiff_steps": 1}, 2.0
    # One iteration is not enough: what only the second look at equations uses is allocated too.
    rare = {"max_newton_iterations": 1} if iterates(system, method) else {}
    run = make_run(system, method, options=options | rare, step_controller=controller)
    backend = Recording()
    policy = "local" if locations == "mixed" else locations
    kernel = BatchSolverKernel(run, BatchSolverConfig(locations=policy), backend)
    inputs = make_inputs(np.ones((N_STATES, 1)), np.ones((1, 1)), (0.0, end), np.float64,
                         first_step=0.01, counted=not run.controller.adaptive)  # fmt: skip
    kept = Kept(SaveMode.FINAL, 1, (("states", N_STATES),), np.dtype(np.float64))
    kernel.launch(1, inputs, make_outputs(kept, 1, PerRun(run.loop.n_counters)))

    placed = {name: p for name, p in kernel.plan.placements.items() if p.size_bytes}
    allocated = {name: entry[0] for name, entry in backend.arrays.items() if entry[0].nbytes}
    assert allocated.keys() == placed.keys()
    for name, array in allocated.items():
        assert array.nbytes == placed[name].size_bytes, name
        assert array.dtype == placed[name].dtype, name

    elements = run.buffer_registry.elements
    assert kernel.shared_memory_elements == elements(backend.extent(1))
    assert kernel.persistent_local_elements == elements(backend.extent(2))
    assert kernel.local_memory_elements == elements(backend.local_bytes())


def test_registry_totals_are_those_of_a_kernel_with_local_buffers(system):
    """Asked without a kernel, the registry gives the totals of its own pins (B4, B7)."""
    run = make_run(system, options=MIXED)
    registry = run.buffer_registry
    kernel = BatchSolverKernel(run, BatchSolverConfig(locations="local"), Recording())
    assert registry.shared_memory_elements == kernel.shared_memory_elements
    assert registry.local_memory_elements == kernel.local_memory_elements
    assert registry.persistent_local_elements == kernel.persistent_local_elements


# ---- who owns what (K8, K9) -------------------------------------------------


def memory_words(thing):
    """Return attributes that sound like a memory total."""
    words = ("memory", "elements", "bytes", "scratch")
    return [name for name in dir(thing) if any(word in name for word in words)]


def test_the_single_run_owns_its_parts_and_no_totals(system):
    """Loop, algorithm and controller are its own; sizes are the registry's business (K8)."""
    run = make_run(system)
    assert run.loop.algorithm is run.algorithm
    assert run.loop.controller is run.controller
    assert run.buffer_registry is run.loop.buffer_registry
    assert memory_words(run) == []


def test_the_kernels_config_holds_settings_only(system):
    """Totals are properties that ask the plan; none is a setting (K9)."""
    fields = {field.name for field in attrs.fields(BatchSolverConfig)}
    of_registers = {"max_registers", "min_blocks"}
    of_device = {"max_shared_bytes", "max_local_bytes", "block_size", "compute_capability", "card"}
    of_assembler = {"verify", "effort", "any_block_size"}
    assert fields == {"locations"} | of_device | of_registers | of_assembler
    for name in ("shared_memory_elements", "shared_memory_bytes", "local_memory_elements"):
        assert isinstance(getattr(BatchSolverKernel, name), property)
    config = BatchSolverConfig(locations="shared", block_size=32)
    kernel = BatchSolverKernel(make_run(system), config, Recording())
    stride = kernel.memory.shared_stride
    assert stride >= kernel.shared_memory_elements * 8, "padding belongs to the launch"
    assert kernel.shared_memory_bytes == 32 * stride


def test_what_leaves_placements_alone_changes_no_built_code(system):
    """A larger limit, or bytes moved elsewhere, rebuild nothing of a component (K9)."""
    backend = CPUBackend(np.float64, False, 1)
    run = make_run(system)

    def key(component, options=None, limits=None):
        built = make_run(system, options=options)
        layout = built.buffer_registry.lay_out("local", limits)
        if component == "run":
            return built.build_key(backend, layout)
        from cubie.factory import BuildCache, BuildContext

        context = BuildContext(backend, layout, "loop", BuildCache()).within(component)
        return built.loop.children[component].build_key(context)

    assert key("run") == key("run", limits=Limits(max_shared_bytes=4096, block_size=8))
    moved = {"state_location": "shared"}
    assert key("run", moved) != key("run")
    assert key("algorithm", moved) == key("algorithm")
    assert key("controller", moved) == key("controller")
    assert run.build_key(backend, run.buffer_registry.lay_out("local")) == key("run")
