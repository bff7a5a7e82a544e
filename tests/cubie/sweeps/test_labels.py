"""Labels of runs: what the index of a table says of its rows stays with the results."""

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray

import cubie
from cubie.errors import InvalidOption, InvalidProblem
from cubie.sweeps import OtherSweep

COLUMNS = {"ka": [1.0, 2.0, 3.0], "ke": [0.1, 0.2, 0.3]}
SITES = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["site", "no"])
NAMED = pd.Index(["ann", "bob", "eve"], name="patient")


def drug(t, y, ka, ke):
    gut, blood = y
    return [-ka * gut, ka * gut - ke * blood]


def swept(index, dim="run", **options):
    """Return a sweep over a table with an index."""
    over = cubie.table(pd.DataFrame(COLUMNS, index=index), dim=dim)
    options = {"method": "rk4", "first_step": 0.1, "backend": "python"} | options
    return cubie.sweep(drug, (0, 1), {"gut": 1.0, "blood": 0.0}, over=over, **options)


KEPT = [
    (NAMED, "patient", {"patient": ["ann", "bob", "eve"]}),
    (NAMED, "run", {"patient": ["ann", "bob", "eve"]}),
    (NAMED.rename(None), "run", {"run": ["ann", "bob", "eve"]}),
    (SITES, "run", {"site": ["a", "a", "b"], "no": [1, 2, 1]}),
    (pd.RangeIndex(3), "run", {}),
    (pd.Index([7, 8, 9]), "run", {"run": [7, 8, 9]}),
    (pd.Index([7, 8, 7]), "run", {}),
    (pd.Index([2**53 + 1, 8, 7], name="id"), "run", {"id": [2**53 + 1, 8, 7]}),
    (pd.Index([0.5, 1.5, np.nan], name="seen"), "run", {"seen": [0.5, 1.5, np.nan]}),
    (pd.CategoricalIndex(["ü", "v", "ü"], name="kind"), "run", {"kind": ["ü", "v", "ü"]}),
]


@pytest.mark.parametrize("kept", ["memory", "store"])
@pytest.mark.parametrize(("index", "dim", "wanted"), KEPT, ids=range(len(KEPT)))
def test_an_index_labels_the_runs(tmp_path, index, dim, wanted, kept):
    """By its own name, or that of the dimension; row numbers, which say nothing, are left out."""
    store = tmp_path / "runs.zarr" if kept == "store" else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep = swept(index, dim, store=store, chunk=2).run(progress=False)
    if store:
        sweep = cubie.Sweep.resume(store)
    dataset = sweep.to_xarray()
    labels = {str(name) for name in dataset.coords} - {"ka", "ke", "component"}
    assert labels == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(dataset[name].values, values)
        assert dataset[name].dims == (dim,)
    table = sweep.to_pandas().reset_index()
    for name, values in wanted.items():
        np.testing.assert_array_equal(table[name].to_numpy(), values)
    if store:
        with xarray.open_zarr(store) as plain:
            assert set(wanted) <= set(plain.coords)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (pd.date_range("2020", periods=3), "the index holds no text, integers"),
        (pd.Index(["a", None, "b"], name="who"), "the index 'who' holds no text.*astype"),
        (SITES.set_names([None, None]), "the index has no name, and is not kept. Name each level"),
    ],
)
def test_it_is_told_what_is_not_kept(index, message):
    """Nothing is left out without a word."""
    with pytest.warns(UserWarning, match=message) as told:
        swept(index)
    assert [one.filename for one in told] == [__file__]


def test_labels_are_part_of_what_a_sweep_is(tmp_path):
    """A store is gone on with by a table whose runs have the same labels."""
    store = tmp_path / "runs.zarr"
    swept(NAMED, store=store).run(progress=False)
    swept(NAMED, store=store)
    with pytest.raises(OtherSweep, match="its labels along 'run' differ"):
        swept(NAMED[::-1], store=store)


@pytest.mark.parametrize("name", ["ka", "status", "y", "cubie", "__x", "component"])
def test_labels_with_names_of_something_else_are_refused(name):
    """Names in a dataset are of one thing."""
    with pytest.raises(InvalidProblem, match=name):
        swept(NAMED.rename(name))


@pytest.mark.parametrize("kind", ["frame", "mapping", "structured"])
def test_columns_that_only_label_runs_go_along(kind):
    """Text and covariates are coordinates: by labels=, or by the name of the dimension."""
    columns = COLUMNS | {"patient": ["ann", "bob", "eve"], "weight": [70.5, np.nan, 60.0]}
    frame = pd.DataFrame(columns)
    rows = {"frame": frame, "mapping": columns, "structured": frame.to_records(index=False)}[kind]
    options = {"method": "rk4", "first_step": 0.1, "backend": "python"}
    start = {"gut": 1.0, "blood": 0.0}
    for over in (
        cubie.table(rows, labels=["patient", "weight"], dim="patient"),
        cubie.table(rows, ["ka", "ke"], labels="weight", dim="patient"),
    ):
        sweep = cubie.sweep(drug, (0, 1), start, over=over, **options).run(progress=False)
        dataset = sweep.to_xarray()
        assert dataset.indexes["patient"].tolist() == ["ann", "bob", "eve"]
        np.testing.assert_array_equal(dataset.weight, columns["weight"])
        assert dataset.ka.dims == dataset.weight.dims == ("patient",)


def test_a_column_that_is_no_argument_is_told_to_be_a_label():
    """Text, and numbers that the right-hand side does not take, have a remedy that works."""
    frame = pd.DataFrame(COLUMNS, index=NAMED).reset_index()
    advice = r"named by table\(rows, labels=\['patient'\]\)"
    with pytest.raises(InvalidProblem, match=advice):
        cubie.table(frame)
    cubie.table(frame, labels=["patient"])
    numbered = cubie.table(COLUMNS | {"patient": [1, 2, 3]})
    with pytest.raises(InvalidProblem, match=f"there are ka, ke.*{advice}"):
        cubie.sweep(drug, (0, 1), {"gut": 1.0, "blood": 0.0}, over=numbered)


def test_labels_that_are_none_are_refused():
    """Each is a column, is not swept, and holds what a store keeps."""
    with pytest.raises(InvalidOption, match=r"`labels` is 'kaa', .*did you mean 'ka'"):
        cubie.table(COLUMNS, labels=["kaa"])
    with pytest.raises(InvalidOption, match="It is swept, too"):
        cubie.table(COLUMNS, ["ka"], labels=["ka"])
    with pytest.raises(InvalidProblem, match="a table of labels alone"):
        cubie.table(COLUMNS, labels=["ka", "ke"])
    with pytest.raises(InvalidProblem, match=r"labels 'seen' that are not text, .*astype"):
        cubie.table(COLUMNS | {"seen": pd.date_range("2020", periods=3)}, labels="seen")
    with pytest.raises(InvalidProblem, match="of different lengths: ka has 3, ke has 3, no has 2"):
        cubie.table(COLUMNS | {"no": [1, 2]}, labels="no")
    with pytest.raises(InvalidProblem, match="the name 'ka' twice"):
        cubie.table(COLUMNS, ["ka", "ka"])
