"""How an explicit method keeps its stages: as vectors of derivatives, or as sums in 2N storage."""

import functools

from cubie.errors import InvalidOption
from cubie.tableaus import ERKTableau, Method, all_methods

STAGE_STORAGES = ("auto", "vectors", "low_storage")


def sums_stages(method: Method, asked: str, keeps_stages: bool) -> bool:
    """Tell whether steps are made in 2N storage, which keeps no stage.

    By default where a method of more than two stages has such a form and no stage is read
    after the step; two are no more vectors in any other form.

    Parameters
    ----------
    method : Method
    asked : {"auto", "vectors", "low_storage"}
    keeps_stages : bool
        Something is read off the stages of a step when it is over.

    Raises
    ------
    InvalidOption
        If what is asked for cannot be.
    """
    if asked not in STAGE_STORAGES:
        raise InvalidOption("stage_storage", asked, STAGE_STORAGES)
    if not isinstance(method, ERKTableau):
        if asked == "auto":
            return False
        advice = f"`{method.name}` is no explicit Runge-Kutta method: leave it out."
        raise InvalidOption("stage_storage", asked, advice=advice)
    form = method.two_registers
    if asked == "auto":
        return form is not None and form.n_stages > 2 and not keeps_stages
    if asked == "vectors":
        return False
    if form is None:
        advice = (
            f"`{method.name}` has no form in two vectors; methods that have are "
            f"{', '.join(_in_two_vectors())}."
        )
        raise InvalidOption("stage_storage", asked, advice=advice)
    if keeps_stages:
        advice = (
            "`dense_output`, `summaries` and events that are located are read off the stages of a "
            "step, which it does not keep: leave it out."
        )
        raise InvalidOption("stage_storage", asked, advice=advice)
    return True


@functools.cache
def _in_two_vectors() -> tuple[str, ...]:
    found = ((name, m) for name, m in all_methods().items() if isinstance(m, ERKTableau))
    return tuple(repr(name) for name, method in found if method.two_registers is not None)
