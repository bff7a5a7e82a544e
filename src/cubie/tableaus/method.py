"""What every method is, whether or not it is made of stages."""

from enum import Enum
from typing import ClassVar, NoReturn, Self

from attrs import field, frozen, validators


class Stability(Enum):
    """Behaviour on y' = lambda*y with Re(lambda) < 0 (Hairer & Wanner II, IV.3)."""

    CONDITIONAL = "conditionally stable"
    A = "A-stable"
    L = "L-stable"


class TableauError(ValueError):
    """A tableau that cannot be what it claims to be.

    Attributes
    ----------
    tableau : str
        Name of the tableau.
    rule : str
        The rule that broke, in one phrase.
    """

    def __init__(self, tableau: str, rule: str, detail: str) -> None:
        super().__init__(f"tableau `{tableau}`: {rule}: {detail}")
        self.tableau = tableau
        self.rule = rule


@frozen(kw_only=True)
class Method:
    """What is told of a method, whatever it computes; the common part of all families.

    Parameters
    ----------
    name : str
        The name users type, lower case with underscores.
    order : int
        Order of the solution.
    stability : Stability
    source : str
        Paper or book, with the table or equation.
    error_order : int, optional
        The error estimate shrinks as ``h**(error_order + 1)``. A step controller's exponent is
        ``1 / (error_order + 1)``. None without an estimate.
    error_proportional_below : float, optional
        Relative tolerance below which the estimate is magnified, see `Tableau`.
    aliases : tuple of str
        Other names, compared without regard to case.
    """

    # It chooses the size of its steps by itself, and there is no controller to choose.
    controls_steps: ClassVar[bool] = False
    # It can be asked to solve M y' = f(t, y), and takes Jacobians.
    implicit: ClassVar[bool] = False

    name: str = field(validator=validators.matches_re(r"[a-z][a-z0-9_]*"))
    order: int = field(validator=validators.ge(1))
    stability: Stability = field(validator=validators.instance_of(Stability))
    source: str = field(validator=validators.min_len(1), repr=False)
    error_order: int | None = None
    error_proportional_below: float | None = field(
        default=None, validator=validators.optional(validators.gt(0.0))
    )
    aliases: tuple[str, ...] = field(default=(), converter=tuple, repr=False)

    @property
    def order_inside(self) -> int:
        """Order of the solution inside a step where points are read off it.

        Its error shrinks as ``h**(order_inside + 1)``.
        """
        raise NotImplementedError(f"`{self.name}` does not say what it is inside a step")

    @property
    def has_error_estimate(self) -> bool:
        """Whether the step size can be controlled."""
        return self.error_order is not None

    def without_error_estimate(self) -> Self:
        """Return the same method for steps of a fixed size."""
        raise NotImplementedError(f"`{self.name}` has no steps of a fixed size")

    def _fail(self, rule: str, detail: str) -> NoReturn:
        raise TableauError(self.name, rule, detail)
