"""Diagonally implicit Runge-Kutta methods.

H&W = Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd edition.
"""

from fractions import Fraction

from cubie.tableaus.exact import difference, lower, polynomial_root, square_root, vector
from cubie.tableaus.kinds import DIRKTableau
from cubie.tableaus.method import Stability

BACKWARDS_EULER = DIRKTableau(
    name="backwards_euler",
    a=[[1]],
    b=[1],
    c=[1],
    order=1,
    stability=Stability.L,
    source="H&W IV.1, eq. 1.8",
    aliases=("backward_euler", "implicit_euler"),
)

IMPLICIT_MIDPOINT = DIRKTableau(
    name="implicit_midpoint",
    a=["1/2"],
    b=[1],
    c="1/2",
    order=2,
    stability=Stability.A,
    source="H&W IV.5, table 5.1 (Gauss, one stage)",
)

CRANK_NICOLSON = DIRKTableau(
    name="crank_nicolson",
    a=lower(["", "1/2 1/2"]),
    b="1/2 1/2",
    c="0 1",
    order=2,
    # Against the implicit Euler method, which uses the same stages.
    error_weights="1/2 -1/2",
    error_order=1,
    stability=Stability.A,
    source="Crank & Nicolson, Proc. Camb. Phil. Soc. 43 (1947), 50-67; H&W IV.3, eq. 3.6",
    aliases=("trapezoidal",),
)


def _sdirk2() -> DIRKTableau:
    """Alexander's method with an estimate of our own: of its two stages alone none has order two.

    With f(t, y) as a third, ``d0 + d1 + d2 = 0`` and ``d1*gamma + d2 = 0`` give it order two and
    leave its size. That is chosen so that on the tall tree of order three, which is all there is
    in a linear system, it is the error of the solution, ``1/3 - gamma``. On the bushy tree, a
    quadrature, it is ``1/gamma`` times that and the error half of it.
    """
    gamma = 1 - square_root(2) / 2
    last = (Fraction(1, 3) - gamma) / (Fraction(1, 2) - gamma)
    return DIRKTableau(
        name="sdirk2",
        a=lower([[gamma], [1 - gamma, gamma]]),
        b=[1 - gamma, gamma],
        c=[gamma, 1],
        order=2,
        error_start_weight=last * (1 / gamma - 1),
        error_weights=[-last / gamma, last],
        error_order=2,
        error_proportional_below=2e-6,
        stability=Stability.L,
        source="Alexander, SIAM J. Numer. Anal. 14 (1977), 1006-1021, theorem 5, two stages; "
        "the estimate is this module's",
        aliases=("alexander2",),
    )


SDIRK2 = _sdirk2()

L_STABLE_SDIRK_4 = DIRKTableau(
    name="l_stable_sdirk_4",
    a=lower(
        [
            "1/4",
            "1/2 1/4",
            "17/50 -1/25 1/4",
            "371/1360 -137/2720 15/544 1/4",
            "25/24 -49/48 125/16 -85/12 1/4",
        ]
    ),
    b="25/24 -49/48 125/16 -85/12 1/4",
    c="1/4 3/4 11/20 1/2 1",
    order=4,
    error_weights="-3/16 -27/32 25/32 0 1/4",
    error_order=3,
    stability=Stability.L,
    source="H&W IV.6, table 6.5 and eq. 6.18",
    aliases=("sdirk4",),
)

_ROOT2 = square_root(2)
_TR_BDF2_B = (_ROOT2 / 4, _ROOT2 / 4, 1 - _ROOT2 / 2)

TR_BDF2 = DIRKTableau(
    name="tr_bdf2",
    a=lower([[], [1 - _ROOT2 / 2, 1 - _ROOT2 / 2], _TR_BDF2_B]),
    b=_TR_BDF2_B,
    c=[0, 2 - _ROOT2, 1],
    order=2,
    # The second solution has order three, so the estimate is the error of this one.
    error_weights=[(_ROOT2 - 1) / 3, Fraction(-1, 3), (2 - _ROOT2) / 3],
    error_order=2,
    error_proportional_below=2e-6,
    stability=Stability.L,
    source="Bank et al., IEEE Trans. CAD 4 (1985); Hosea & Shampine, Appl. Numer. Math. 20 (1996)",
    aliases=("trbdf2",),
)


def _kvaerno3() -> DIRKTableau:
    """Kvaerno's method of order 3(2), in closed form in gamma."""
    # L-stability of order three wants gamma^3 - 3 gamma^2 + 3/2 gamma - 1/6 = 0.
    gamma = polynomial_root(vector("-1/6 3/2 -3 1"), guess=0.4358665)
    third = [(-4 * gamma**2 + 6 * gamma - 1) / (4 * gamma), (1 - 2 * gamma) / (4 * gamma), gamma]
    fourth = [
        (6 * gamma - 1) / (12 * gamma),
        -1 / ((24 * gamma - 12) * gamma),
        (-6 * gamma**2 + 6 * gamma - 1) / (6 * gamma - 3),
        gamma,
    ]
    return DIRKTableau(
        name="kvaerno3",
        a=lower([[], [gamma, gamma], third, fourth]),
        b=fourth,
        c=[0, 2 * gamma, 1, 1],
        order=3,
        error_weights=difference(tuple(fourth), (*third, Fraction(0))),
        error_order=2,
        stability=Stability.L,
        source="Kvaerno, BIT 44 (2004), 489-502, method 3/2",
    )


KVAERNO3 = _kvaerno3()

_KVAERNO5_A = lower(
    [
        "",
        "0.26 0.26",
        "0.13 0.84033320996790809 0.26",
        "0.22371961478320505 0.47675532319799699 -0.06470895363112615 0.26",
        """0.16648564323248321 0.10450018841591720 0.03631482272098715
        -0.13090704451073998 0.26""",
        """0.13855640231268224 0 -0.04245337201752043 0.02446657898003141
        0.61943039072480676 0.26""",
        """0.13659751177640291 0 -0.05496908796538376 -0.04118626728321046
        0.62993304899016403 0.06962479448202728 0.26""",
    ]
)

KVAERNO5 = DIRKTableau(
    name="kvaerno5",
    a=_KVAERNO5_A,
    b=_KVAERNO5_A[6],
    c="0 0.52 1.230333209967908 0.8957659843500759 0.43639360985864756 1 1",
    order=5,
    # The sixth stage is itself a solution of order four.
    error_weights=difference(_KVAERNO5_A[6], _KVAERNO5_A[5]),
    error_order=4,
    stability=Stability.L,
    source="Kvaerno, BIT 44 (2004), 489-502, method 5/4",
)

_KENCARP4_B = vector("82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4")

KENCARP4 = DIRKTableau(
    name="kencarp4",
    a=lower(
        [
            "",
            "1/4 1/4",
            "8611/62500 -1743/31250 1/4",
            "5012029/34652500 -654441/2922500 174375/388108 1/4",
            "15267082809/155376265600 -71443401/120774400 730878875/902184768 2285395/8070912 1/4",
            _KENCARP4_B,
        ]
    ),
    b=_KENCARP4_B,
    c="0 1/2 83/250 31/50 17/20 1",
    order=4,
    error_weights=difference(
        _KENCARP4_B,
        vector(
            """4586570599/29645900160 0 178811875/945068544 814220225/1159782912
            -3700637/11593932 61727/225920"""
        ),
    ),
    error_order=3,
    stability=Stability.L,
    source="Kennedy & Carpenter, Appl. Numer. Math. 44 (2003), 139-181, ARK4(3)6L[2]SA, implicit",
)

DIAGONALLY_IMPLICIT = (
    BACKWARDS_EULER,
    IMPLICIT_MIDPOINT,
    CRANK_NICOLSON,
    SDIRK2,
    L_STABLE_SDIRK_4,
    TR_BDF2,
    KVAERNO3,
    KVAERNO5,
    KENCARP4,
)
