"""Methods that choose between two by themselves."""

from cubie.tableaus.method import Stability
from cubie.tableaus.rosenbrock import RODAS5P
from cubie.tableaus.tsitouras import TSIT5
from cubie.tableaus.two_methods import SwitchingMethod

AUTO = SwitchingMethod(
    name="auto",
    aliases=("LSODA",),
    nonstiff=TSIT5,
    stiff=RODAS5P,
    order=5,
    error_order=4,
    stability=Stability.L,
    source="after Petzold, SIAM J. Sci. Stat. Comput. 4 (1983) 136-148; Hairer & Wanner II, IV.2; "
    "Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88 (1998) 315-326, section 3",
)

SWITCHING: tuple[SwitchingMethod, ...] = (AUTO,)
