"""Which cases of a test are compiled, where what it says is of component code and not of a target.

Component code is the same on all of them; `test_parity` and `test_implicit_parity` hold compiled
code to what it does as it is written. That takes a tenth of a second where compiling takes three.
"""

from collections.abc import Iterable

import pytest


def on_targets(cases: Iterable, compiled: Iterable, also: Iterable = ()) -> list:
    """Return the parameters of a test, each case with its target last.

    Parameters
    ----------
    cases
        Those of component code as it is written.
    compiled
        Those of the CPU's machine code, which `make test` leaves to `make test-long`.
    also
        More of those, which take minutes together: only if asked for.
    """
    compiled = list(compiled)

    def parameters(cases, backend, *marks):
        for case in cases:
            values = case if isinstance(case, tuple) else (case,)
            yield pytest.param(*values, backend, marks=marks)

    return [
        *parameters(cases, "python"),
        *parameters(compiled, "cpu", pytest.mark.long),
        *parameters((c for c in also if c not in compiled), "cpu", pytest.mark.every_config),
    ]
