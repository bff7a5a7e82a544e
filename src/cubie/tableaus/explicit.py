"""Explicit Runge-Kutta methods up to order five.

Books cited here: HNW = Hairer, Norsett & Wanner, Solving Ordinary Differential
Equations I, 2nd edition.
"""

from cubie.tableaus.exact import lower
from cubie.tableaus.kinds import ERKTableau
from cubie.tableaus.tableau import Stability
from cubie.tableaus.tsitouras import TSIT5

EULER = ERKTableau(
    name="euler",
    a=lower([""]),
    b="1",
    c="0",
    order=1,
    stability=Stability.CONDITIONAL,
    source="Euler, Institutionum calculi integralis I (1768), section 650; HNW II.1, eq. 1.2",
)

HEUN = ERKTableau(
    name="heun",
    a=lower(["", "1"]),
    b="1/2 1/2",
    c="0 1",
    order=2,
    error_weights="-1/2 1/2",
    error_order=1,
    stability=Stability.CONDITIONAL,
    source="Heun, Z. Math. Phys. 45 (1900); embedded Euler",
)

MIDPOINT = ERKTableau(
    name="midpoint",
    a=lower(["", "1/2"]),
    b="0 1",
    c="0 1/2",
    order=2,
    error_weights="-1 1",
    error_order=1,
    stability=Stability.CONDITIONAL,
    source="Runge, Math. Ann. 46 (1895); HNW II.1, eq. 1.4; embedded Euler",
)

RALSTON = ERKTableau(
    name="ralston",
    a=lower(["", "2/3"]),
    b="1/4 3/4",
    c="0 2/3",
    order=2,
    error_weights="-3/4 3/4",
    error_order=1,
    stability=Stability.CONDITIONAL,
    source="Ralston, Math. Comp. 16 (1962), p. 433; embedded Euler",
)

RK4 = ERKTableau(
    name="rk4",
    a=lower(["", "1/2", "0 1/2", "0 0 1"]),
    b="1/6 1/3 1/3 1/6",
    c="0 1/2 1/2 1",
    order=4,
    stability=Stability.CONDITIONAL,
    source="Kutta, Z. Math. Phys. 46 (1901); HNW II.1, table 1.2",
    aliases=("classic_rk4",),
)

BOGACKI_SHAMPINE32 = ERKTableau(
    name="bogacki_shampine32",
    a=lower(["", "1/2", "0 3/4", "2/9 1/3 4/9"]),
    b="2/9 1/3 4/9 0",
    c="0 1/2 3/4 1",
    order=3,
    error_weights="-5/72 1/12 1/9 -1/8",
    error_order=2,
    # The cubic Hermite polynomial through both ends of the step.
    interpolant=["1 -4/3 5/9", "0 1 -2/3", "0 4/3 -8/9", "0 -1 1"],
    interpolant_order=3,
    stability=Stability.CONDITIONAL,
    source="Bogacki & Shampine, Appl. Math. Lett. 2 (1989), 321-325",
    aliases=("RK23", "bosh3"),
)

CASH_KARP54 = ERKTableau(
    name="cash_karp54",
    inside_nodes=((1.0,),),
    a=lower(
        [
            "",
            "1/5",
            "3/40 9/40",
            "3/10 -9/10 6/5",
            "-11/54 5/2 -70/27 35/27",
            "1631/55296 175/512 575/13824 44275/110592 253/4096",
        ]
    ),
    b="37/378 0 250/621 125/594 0 512/1771",
    c="0 1/5 3/10 3/5 1 7/8",
    order=5,
    error_weights="-277/64512 0 6925/370944 -6925/202752 -277/14336 277/7084",
    error_order=4,
    stability=Stability.CONDITIONAL,
    source="Cash & Karp, ACM TOMS 16 (1990), 201-222, orders 5(4)",
)

FEHLBERG45 = ERKTableau(
    name="fehlberg45",
    inside_nodes=((1.0,),),
    a=lower(
        [
            "",
            "1/4",
            "3/32 9/32",
            "1932/2197 -7200/2197 7296/2197",
            "439/216 -8 3680/513 -845/4104",
            "-8/27 2 -3544/2565 1859/4104 -11/40",
        ]
    ),
    b="25/216 0 1408/2565 2197/4104 -1/5 0",
    c="0 1/4 3/8 12/13 1 1/2",
    order=4,
    error_weights="-1/360 0 128/4275 2197/75240 -1/50 -2/55",
    error_order=4,
    stability=Stability.CONDITIONAL,
    source="Fehlberg, Computing 6 (1970), 61-71; HNW II.5, table 5.1; order four is carried on",
)

DORMAND_PRINCE54 = ERKTableau(
    name="dormand_prince54",
    a=lower(
        [
            "",
            "1/5",
            "3/40 9/40",
            "44/45 -56/15 32/9",
            "19372/6561 -25360/2187 64448/6561 -212/729",
            "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
            "35/384 0 500/1113 125/192 -2187/6784 11/84",
        ]
    ),
    b="35/384 0 500/1113 125/192 -2187/6784 11/84 0",
    c="0 1/5 3/10 4/5 8/9 1 1",
    order=5,
    error_weights="71/57600 0 -71/16695 71/1920 -17253/339200 22/525 -1/40",
    error_order=4,
    # Shampine, Math. Comp. 46 (1986), 135-150: the quartic that is most accurate at theta = 1/2.
    interpolant=[
        "1 -8048581381/2820520608 8663915743/2820520608 -12715105075/11282082432",
        "0 0 0 0",
        "0 131558114200/32700410799 -68118460800/10900136933 87487479700/32700410799",
        "0 -1754552775/470086768 14199869525/1410260304 -10690763975/1880347072",
        "0 127303824393/49829197408 -318862633887/49829197408 701980252875/199316789632",
        "0 -282668133/205662961 2019193451/616988883 -1453857185/822651844",
        "0 40617522/29380423 -110615467/29380423 69997945/29380423",
    ],
    interpolant_order=4,
    stability=Stability.CONDITIONAL,
    source="Dormand & Prince, J. Comput. Appl. Math. 6 (1980), 19-26; HNW II.5, table 5.2",
    aliases=("RK45", "dopri5"),
)

EXPLICIT_UP_TO_FIVE = (
    EULER,
    HEUN,
    MIDPOINT,
    RALSTON,
    RK4,
    BOGACKI_SHAMPINE32,
    CASH_KARP54,
    FEHLBERG45,
    DORMAND_PRINCE54,
    TSIT5,
)
