"""Models as data: all of them comes back, and nothing else is made of what is read."""

import base64
import json
import warnings

import attrs
import numpy as np
import pytest
from scipy import stats

import cubie
from cubie import Interpolant
from cubie.run.summaries.request import SUMMARIES
from cubie.sweeps.codec import NotData, NotReadable, from_json, to_json
from cubie.sweeps.errors import OtherSweep, StoreError
from cubie.sweeps.model import Model
from cubie.sweeps.whole import Whole
from cubie.tableaus import all_methods, get_method
from tests.cubie.sweeps.alone import kept_by_run
from tests.cubie.test_summaries import Swing

GRID = cubie.grid(a=[1.0, 2.0])
PUSH = Interpolant([0.0, 0.5, 1.0], [0.0, 1.0, 0.5])
STEPS = Interpolant([0.0, 0.5, 1.0], [0.0, 1.0, 0.0], kind="previous")
WITH_NUMBERS = {"peaks": "peaks(2)", "negative_peaks": "negative_peaks(2)",
                "crossings": "crossings(0.1)", "time_above": "time_above(0.2)"}  # fmt: skip


def swinging(t, y, a):
    return [y[1], -a * y[0]]


def pushed(t, y, a, f):
    return [f(t) - a * y[0], y[0]]


def closed(t, y, a):
    return [STEPS(t) - a * y[0], y[0]]


def turning(t, y, a):
    return [1j * a * y[0], y[1]]


def algebraic(t, y, a):
    return [-a * y[0], y[0] + y[1] - 1.0]


def crossing(t, y, a):
    return y[0] - 0.5 * a


crossing.terminal, crossing.direction = True, -1


def kicked(t, y, a):
    return [0.5 * y[0], -y[1]]


def whole_of(fun=swinging, y0=(1.0, 0.0), over=GRID, **options):
    """Return a sweep of few runs, as a whole."""
    options = {"backend": "python", **options}
    method = get_method(options.get("method", "tsit5"))
    if not method.has_error_estimate:
        options["first_step"] = 0.25
    return cubie.sweep(fun, (0.0, 1.0), np.array(y0), over=over, **options)._whole


def own(name):
    """Return a method of one's own: it has another name than that of which it has the numbers."""
    return attrs.evolve(get_method(name), name=f"my_{name}", aliases=())


def read(whole):
    """Return what is read of a whole, after a look that it is written as it was."""
    assert whole.content, whole.lacking
    model, space, drawn = from_json(whole.content)
    assert to_json((model, space, drawn)) == whole.content
    return Whole(model, space, drawn)


def values_of(whole):
    """Return all that is kept of the runs of a whole."""
    sweep = cubie.Sweep._new(whole, None, "80%", None).run(progress=False)
    return kept_by_run(sweep)


def require_same_runs(whole):
    """Compare runs of what was read with those of what was written, to the last bit."""
    again = read(whole)
    assert again.digest == whole.digest
    again.model.require_whole()
    found, wanted = values_of(again), values_of(whole)
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("method", all_methods())
def test_every_method_is_read_back(method):
    """A method goes by its name, and its runs are the same to the last bit."""
    require_same_runs(whole_of(method=method))


KINDS = {
    "all summaries": {"summaries": {"y0": [WITH_NUMBERS.get(n, n) for n in SUMMARIES
                                           if n != "lyapunov"], 1: ["max"], "y": "lyapunov(2)"},
                      "window": (0.2, 0.8)},
    "observables": {"observables": lambda t, y, a: {"e": y[0] * y[0] + a, "f": y[1]}},
    "events": {"events": crossing, "max_events": 2},
    "a driver in args": {"fun": pushed, "args": (None, PUSH)},
    "a driver closed over": {"fun": closed},
    "complex states": {"fun": turning, "y0": (1j, 1.0)},
    "a mass matrix": {"fun": algebraic, "mass_matrix": np.diag([1.0, 0.0]), "method": "radau"},
    "equations": {"fun": ["dx = -a*x*y", "dy = x"], "observables": {"z": "x + y"}},
    "places by word": {"locations": "local", "method": "kvaerno5"},
    "a pin": {"state_location": "local"},
    "a controller": {"step_controller": "pid", "rtol": [1e-3, 1e-4], "breakpoints": [0.3]},
    "points": {"t_eval": [0.25, 0.5], "t_eval_exact": True, "save_states": [1]},
    "own ends": {"over": cubie.grid(t_end=[0.5, 1.0], a=[1.0, 2.0])},
    "drawn numbers": {"over": cubie.sampled(3, y1=stats.norm(0.0, 0.1), by="sobol"),
                      "args": {"a": stats.gamma(2.0, scale=0.3)}},
    "a latin square": {"over": cubie.sampled(3, y1=(0.0, 1.0), by="latin"), "args": {"a": 1.0}},
    "infinite tolerances of steps": {"max_step": np.inf, "max_steps": 17},
    "an iterative solver": {"method": "kvaerno5", "linear_solver": "gmres",
                            "preconditioner": "ilu0"},
    "float32": {"dtype": "float32"},
    "a matrix": {"fun": lambda t, y, a: -a * (np.array([[1.0, 0.5], [0.2, 2.0]]) @ y)},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_read_back(kind):
    """Whatever a model has, what is read of it gives the same runs to the last bit."""
    require_same_runs(whole_of(**KINDS[kind]))


@pytest.mark.parametrize("name", ["rk4", "kvaerno5", "radau_iia_5", "rodas5p", "bdf", "auto"])
def test_methods_of_ones_own_are_read_back(name):
    """The coefficients of a method that nobody knows by name are written, of each kind."""
    require_same_runs(whole_of(method=own(name)))


def test_a_plan_is_read_back():
    """A plan of buffers goes along as it is."""
    plan = whole_of().model.prepared.kernel.plan
    require_same_runs(whole_of(locations=plan))


def test_where_text_is_kept_is_no_part_of_a_model(tmp_path, monkeypatch):
    """The same sweep on a machine with its cache elsewhere is the same sweep."""
    here = whole_of()
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    again = read(here)
    assert again.digest == here.digest
    assert str(again.model.systems.states.path).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"summaries": {0: Swing()}}, "summaries.* is Swing, which is no data"),
        ({"over": cubie.sampled(3, y1=type("Own", (), {"ppf": lambda self, q: q})()),
          "args": {"a": 1.0}}, "is Own, which is no data"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_named(options, what, tmp_path):
    """A model with code of the user's own needs that code: resuming says what it needs."""
    store = tmp_path / "runs.zarr"
    begun = {"backend": "python", "over": GRID, "store": store, **options}
    sweep = cubie.sweep(swinging, (0.0, 1.0), [1.0, 0.0], **begun)
    with pytest.raises(NotData, match=what):
        to_json((sweep._whole.model, sweep._whole.space, sweep._whole.drawn))
    sweep.run(progress=False)
    with pytest.raises(StoreError, match=f"{what}.*call cubie.sweep"):
        cubie.Sweep.resume(store)
    again = cubie.sweep(swinging, (0.0, 1.0), [1.0, 0.0], **begun)
    assert again._done().all()


class Scaled:
    """A distribution of one's own."""

    def __init__(self, scale):
        self.scale = scale

    def ppf(self, q):
        return self.scale * q


class Steep(Swing):
    """A summary with another name."""

    name = "steep"


def test_what_is_no_data_tells_sweeps_apart():
    """Sweeps with code of the user's own differ where that, or anything else, does."""

    def digest(**options):
        return whole_of(**options).digest

    of_own = {"summaries": {0: Swing()}}
    drawn = {"args": {"a": 1.0}}
    assert digest(**of_own) == digest(**of_own)
    others = [
        digest(**of_own), digest(summaries={1: Swing()}), digest(summaries={0: Steep()}),
        digest(summaries={0: Swing(), 1: "max"}), digest(rtol=1e-5, **of_own),
        digest(method="vern7", **of_own), digest(t_eval=[0.5], **of_own),
        digest(over=cubie.grid(a=[1.0, 3.0]), **of_own),
        digest(over=cubie.sampled(3, y1=Scaled(1.0)), **drawn),
        digest(over=cubie.sampled(3, y1=Scaled(2.0)), **drawn),
        digest(over=cubie.sampled(4, y1=Scaled(2.0)), **drawn),
        digest(over=cubie.sampled(4, y1=Scaled(2.0), seed=1), **drawn),
    ]  # fmt: skip
    assert len(set(others)) == len(others)
    again = digest(over=cubie.sampled(4, y1=Scaled(2.0), seed=1), **drawn)
    assert again == others[-1]


def test_functions_that_are_not_traced_are_no_data():
    """A function that is compiled as it stands is code."""

    def untraced(t, y, a):
        total = 0.0
        while total < y[0]:
            total += 0.3
        return [-a * total, 0.0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cubie.UntracedWarning)
        whole = whole_of(fun=untraced, backend="cpu")
    assert not whole.content
    assert "is function, which is no data" in whole.lacking
    assert len(whole.digest) == 64


# ---- what others wrote -------------------------------------------------------------


def of_class(kind, /, **fields):
    return {"is": kind, "of": fields}


HOSTILE = [
    ("text", b"no json"),
    ("nothing", b""),
    ("a number", {"is": 3, "of": 4}),
    ("no kind", {"of": []}),
    ("another package", of_class("os:system")),
    ("a class of another package", of_class("subprocess:Popen", args=["touch", "x"])),
    ("a class of a package like ours", of_class("cubieverse:Model")),
    ("the command", of_class("cubie.cli.__main__:main")),
    ("a room that does things", of_class("cubie.cache.shelf:Shelf")),
    ("a backend", of_class("cubie.backend.targets:Backend")),
    ("a function", of_class("cubie.tableaus.catalogue:get_method", name="rk4")),
    ("what a module imports", of_class("cubie.systems.store:Path")),
    ("a private name", of_class("cubie.systems.generated:_Other")),
    ("a private module", of_class("cubie.systems._x:Y")),
    ("a name in a name", of_class("cubie.systems.system:System.module")),
    ("no such class", of_class("cubie.sweeps.model:Modell")),
    ("no such module", of_class("cubie.systems.nothing:Thing")),
    ("a class that is no data", of_class("cubie.systems.store:Store", directory="elsewhere")),
    ("other fields", of_class("cubie.sweeps.places:Place", path=[1])),
    ("a missing field", of_class("cubie.sweeps.places:Place")),
    ("a private field", of_class("cubie.sweeps.model:Model", _prepared=[])),
    ("an enum without it", {"is": "cubie.run.saving:SaveMode", "of": "NEVER"}),
    ("objects", {"is": "array", "of": ["|O", [1], "AAAA"]}),
    ("fewer bytes", {"is": "array", "of": ["<f8", [1000000000000], "AAAA"]}),
    ("a large shape", {"is": "array", "of": ["|V0", [10**18], ""]}),
    ("a fraction of zero", {"is": "fraction", "of": "1/0"}),
    ("a large fraction", {"is": "fraction", "of": "1e999999999"}),
    ("a number that is none", {"is": "float", "of": [1]}),
    ("a distribution that is none", {"is": "distribution", "of": {"is": "dict", "of": [
        ["name", "__doc__"], ["args", []], ["kwds", {"is": "dict", "of": []}]]}}),
    ("a function of SciPy's", {"is": "distribution", "of": {"is": "dict", "of": [
        ["name", "bootstrap"], ["args", []], ["kwds", {"is": "dict", "of": []}]]}}),
    ("a method that is none", {"is": "method", "of": "rk44"}),
    ("a plan that is none", {"is": "plan", "of": "{}"}),
    ("deep lists", b"[" * 100_000 + b"]" * 100_000),
    ("deep objects", b'{"is":"tuple","of":[' * 3000 + b"]}" * 3000),
]  # fmt: skip


@pytest.mark.parametrize(("what", "content"), HOSTILE, ids=[what for what, _ in HOSTILE])
def test_what_is_no_model_is_refused(what, content):
    """Whatever stands in a store, nothing but models is made of it."""
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(NotReadable):
        from_json(content)


def changed(whole, change):
    """Return the JSON of a whole in which a function changed the fields of the model."""
    content = json.loads(whole.content)
    change(content["of"][0]["of"])
    return json.dumps(content).encode()


def state_system(fields):
    return fields["systems"]["of"][0]["of"]


def array(values):
    values = np.asarray(values, dtype=float)
    text = base64.b64encode(values.tobytes()).decode()
    return {"is": "array", "of": ["<f8", list(values.shape), text]}


CODE = '__import__("os").system("touch {}")\n'


def with_code(fields, tmp_path):
    system = state_system(fields)
    system["source"] = CODE.format(tmp_path / "touched") + system["source"]


def with_other_arithmetic(fields, tmp_path):
    system = state_system(fields)
    assert "p[0]" in system["source"]
    system["source"] = system["source"].replace("p[0]", "(p[0] + 1.0)")


def compiled(fields, tmp_path):
    state_system(fields)["kind"] = "compiled"


def elsewhere(fields, tmp_path):
    state_system(fields)["path"] = str(tmp_path / "a" / "b.py")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_code, "its code is more than arithmetic"),
        (with_other_arithmetic, "its code is not what it was found by"),
        (compiled, "of a function, and not of its trace"),
        (elsewhere, "path"),
    ],
)
def test_code_of_others_is_refused(change, message, tmp_path):
    """Code that is more than arithmetic, or is found by another hash, is not even compiled."""
    content = changed(whole_of(), lambda fields: change(fields, tmp_path))
    with pytest.raises(NotReadable, match=message):
        from_json(content)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start", array([1.0])),
        ("parameters", array([1.0, 2.0, 3.0])),
        ("rtol", array([[1e-3]])),
        ("state_names", {"is": "tuple", "of": ["x"]}),
        ("places", {"is": "tuple", "of": [of_class(
            "cubie.sweeps.places:Place", name="a", slots={"is": "tuple", "of": [7]},
            **{"of": "parameter"})]}),
        ("systems", 5),
        ("settings", None),
        ("dtype", "object"),
    ],
)  # fmt: skip
def test_models_that_do_not_fit_together_are_refused(name, value, tmp_path):
    """Sizes that are not those of the equations would have kernels read beyond their arrays."""
    store = tmp_path / "runs.zarr"
    sweep = cubie.sweep(swinging, (0, 1), [1.0, 0.0], over=GRID, backend="python", store=store)
    sweep.run(progress=False)
    content = changed(sweep._whole, lambda fields: fields.update({name: value}))
    group = sweep._keeper.root["cubie"]
    data = np.frombuffer(content, np.uint8)
    group.create_array("model", data=data, chunks=data.shape, overwrite=True)
    with pytest.raises(OtherSweep, match="cannot be gone on with"):
        cubie.Sweep.resume(store)


@pytest.mark.parametrize("box", [None, [], [0], [3], ["1"], [1, 1], [1.0]])
def test_chunks_that_cannot_be_are_refused(box, tmp_path):
    """What a store says of its chunks is looked at, by either door."""
    store = tmp_path / "runs.zarr"

    def begun():
        return cubie.sweep(
            swinging, (0, 1), [1.0, 0.0], over=GRID, backend="python", store=store, chunk=1
        )

    sweep = begun().run(progress=False)
    sweep._keeper.root.attrs["cubie_chunk"] = box
    for door in (begun, lambda: cubie.Sweep.resume(store)):
        with pytest.raises(StoreError, match="its chunks are"):
            door()


def test_rounds_that_cannot_be_are_refused(tmp_path):
    """What is to be computed once more changes what retries may change, and no more."""
    store = tmp_path / "runs.zarr"
    sweep = cubie.sweep(swinging, (0, 1), [1.0, 0.0], over=GRID, backend="python", store=store)
    sweep.run(progress=False)
    wrong = of_class(
        "cubie.sweeps.job:Round",
        status={"is": "tuple", "of": [0]},
        changes={"is": "tuple", "of": [{"is": "tuple", "of": ["systems", 3]}]},
    )
    sweep._keeper.add_round(json.dumps(wrong).encode())
    with pytest.raises(StoreError, match="computed once more cannot be read"):
        cubie.Sweep.resume(store)


def test_models_and_numbers_are_all_that_a_model_is_of():
    """Fields of a model that are read are those that are written: none is forgotten."""
    names = {part.name for part in attrs.fields(Model) if part.init}
    written = set(json.loads(whole_of().content)["of"][0]["of"])
    assert written <= names
    assert names - written <= {"notes"}
