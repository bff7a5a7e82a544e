"""What can go wrong with the user's equations."""

import threading

from cubie.errors import CubieError


class RightHandSideError(CubieError, ValueError):
    """`fun` is no right-hand side: it raised, or returned what no solver can use.

    Attributes
    ----------
    of_shape : bool
        What it returned has another shape than the state: an argument may have another one.
    n_values : int or None
        How many numbers it returned, where that is not the number of states.
    """

    def __init__(self, message: str, of_shape: bool = False, n_values: int | None = None):
        super().__init__(message)
        self.of_shape = of_shape
        self.n_values = n_values


class ObservableError(RightHandSideError):
    """`observables` are no numbers that follow from t, y and args, or cannot be traced."""


class EventError(RightHandSideError):
    """An event is no number that follows from t, y and args, or makes no state of them."""


class BatchShapeError(CubieError, ValueError):
    """The shapes of `y0` and `args` do not say one number of runs."""


class Refusal(BaseException):
    """The trace cannot go on like this.

    Not an `Exception`: an `except Exception` in the user's function must not swallow it. What an
    `except:` swallowed is found in `latest`.
    """

    latest = threading.local()

    def __init__(self, *args):
        super().__init__(*args)
        Refusal.latest.refusal = self


class Untraceable(Refusal):
    """The code does something that has no straight-line form over the states.

    Raised and caught inside this package: the function is then compiled as it stands, and the
    sentence becomes part of `System.note`.
    """


class TooManyPaths(Untraceable):
    """The conditions of a function have too many combinations of answers."""


class NeedsConstants(Refusal):
    """Samples of a table are parameters of all runs, which must become constants.

    Attributes
    ----------
    paths : frozenset of tuple
        Where they stand in args.
    """

    def __init__(self, paths):
        super().__init__(paths)
        self.paths = frozenset(paths)


class NeedsInteger(Refusal):
    """Python wants a plain int where a parameter stands, so the parameter becomes a constant."""

    def __init__(self, leaves):
        super().__init__(leaves)
        self.leaves = frozenset(leaves)
