"""The user's equations: from an ordinary SciPy right-hand side to a module a kernel can use."""

from cubie.systems.batch import Batch, argument_views, placed_leaves, split_batch
from cubie.systems.complex_pairs import Pairs, pairs_of
from cubie.systems.consistency import inconsistency
from cubie.systems.derivatives.choice import Derivatives, derivatives_of, with_jacobian
from cubie.systems.derivatives.given_jacobian import read_jacobian
from cubie.systems.derivatives.sparsity import (
    Sparsity,
    note_on_sparsity,
    read_sparsity,
    with_sparsity,
)
from cubie.systems.differential_index import note_on_index
from cubie.systems.drivers.uncalled import uncalled
from cubie.systems.errors import (
    BatchShapeError,
    NeedsConstants,
    ObservableError,
    RightHandSideError,
)
from cubie.systems.from_function import trace
from cubie.systems.mass import with_mass
from cubie.systems.observables.given import (
    check_choice,
    check_observables,
    chosen,
    has_observables,
    observables_of,
)
from cubie.systems.read_back import system_of_text
from cubie.systems.references.watched import Watched, fingerprint
from cubie.systems.state_names import (
    OtherNames,
    in_order_of_states,
    names_of_states,
    unplaced,
)
from cubie.systems.sweep_advice import advised
from cubie.systems.symbolic.equations import Equations, equations, read_equations
from cubie.systems.symbolic.reader import EquationError
from cubie.systems.system import System
from cubie.systems.wrapped import in_columns

__all__ = [
    "Batch",
    "BatchShapeError",
    "Derivatives",
    "EquationError",
    "Equations",
    "NeedsConstants",
    "ObservableError",
    "OtherNames",
    "Pairs",
    "RightHandSideError",
    "Sparsity",
    "System",
    "Watched",
    "advised",
    "argument_views",
    "check_choice",
    "check_observables",
    "chosen",
    "derivatives_of",
    "equations",
    "fingerprint",
    "has_observables",
    "in_columns",
    "in_order_of_states",
    "inconsistency",
    "names_of_states",
    "note_on_index",
    "note_on_sparsity",
    "observables_of",
    "pairs_of",
    "placed_leaves",
    "read_equations",
    "read_jacobian",
    "read_sparsity",
    "split_batch",
    "system_of_text",
    "trace",
    "uncalled",
    "unplaced",
    "with_jacobian",
    "with_mass",
    "with_sparsity",
]
