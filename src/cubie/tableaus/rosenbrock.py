"""Rosenbrock methods: one linear solve per stage, no Newton iteration.

H&W = Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd edition.
"""

from fractions import Fraction

from cubie.tableaus.exact import Matrix, Vector, inverse, lower, product, square_root, vector
from cubie.tableaus.kinds import RosenbrockTableau
from cubie.tableaus.method import Stability


def _from_book(
    *,
    alpha: Matrix,
    gamma_matrix: Matrix,
    weights: Vector,
    error_weights: Vector,
    **facts,
) -> RosenbrockTableau:
    """Make a tableau from the book's alpha, Gamma and weights (H&W II, IV.7, eq. 7.4).

    `facts` are the remaining fields: name, order, error_order, stability, source, aliases.
    """
    inverted = inverse(gamma_matrix)
    gamma = gamma_matrix[0][0]
    return RosenbrockTableau(
        gamma=gamma,
        a=product(alpha, inverted),
        b=product((weights,), inverted)[0],
        C=[
            [(1 / gamma if i == j else Fraction(0)) - x for j, x in enumerate(row)]
            for i, row in enumerate(inverted)
        ],
        c=[sum(row, Fraction(0)) for row in alpha],
        d=[sum(row, Fraction(0)) for row in gamma_matrix],
        error_weights=product((error_weights,), inverted)[0],
        **facts,
    )


def _ros3p() -> RosenbrockTableau:
    """ROS3P with an estimate of our own: the published one vanishes on linear systems.

    There ``k2 = k1`` (Gamma[1][0] = -1 undoes alpha[1][0] = 1), and its weights are
    (1, -1, 0)/3; of three stages no others have order two. A fourth stage at the new
    solution, ``Gamma[3] = w_hat - w``, makes `w_hat` the weights of a second solution that is
    L-stable. Its order two, and a leading error in proportion to y''', on the tall tree as on
    the bushy one, leave one choice of `w_hat`. The estimate is then scaled to ``h**3 y'''/6``,
    which on quadratures is the size of the published one.
    """
    gamma = Fraction(1, 2) + square_root(3) / 6
    # w_hat - w: its sum is zero, so df/dt has no part in this stage. Order two wants
    # sum((w_hat - w)*(alpha + gamma)) = 0, where those of the first two stages are gamma.
    third = -gamma * (1 - gamma) / (Fraction(3, 2) - 3 * gamma)
    # The tall tree's error, which only R(infinity) = 1 - sqrt(3) decides, and the bushy tree's,
    # sum((w - w_hat)*alpha**2), twice as large.
    tall = gamma**3 * (square_root(3) - 1)
    second = -2 * tall - third - gamma
    first = -gamma - second - third
    return _from_book(
        name="ros3p",
        alpha=lower(["", "1", "1", "2/3 0 1/3"]),
        gamma_matrix=lower(
            [
                [gamma],
                [-1, gamma],
                [-gamma, Fraction(1, 2) - 2 * gamma, gamma],
                [first, second, third, gamma],
            ]
        ),
        weights=vector("2/3 0 1/3 0"),
        error_weights=tuple(-x / (6 * tall) for x in (first, second, third, gamma)),
        order=3,
        error_order=2,
        stability=Stability.A,
        source="Lang & Verwer, BIT 41 (2001), 730-737, table 1; the last stage is this module's",
    )


def _rosenbrock23() -> RosenbrockTableau:
    d = 1 / (2 + square_root(2))
    e32 = 6 + square_root(2)
    return _from_book(
        name="rosenbrock23",
        alpha=lower(["", "1/2", "0 1"]),
        # The paper's stages in Rosenbrock's form: W k2 = F1 - k1 + W k1 turns into
        # Gamma[1][0] = -d, and the third stage, with e32, likewise.
        gamma_matrix=lower([[d], [-d, d], [(e32 - 2) * d, -e32 * d, d]]),
        weights=vector("0 1 0"),
        # The second solution has order three, so the estimate is the error of this one.
        error_weights=vector("-1/6 1/3 -1/6"),
        order=2,
        error_order=2,
        error_proportional_below=1e-6,
        stability=Stability.L,
        source="Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997), 1-22, section 3.1",
        aliases=("ode23s",),
    )


RODAS3P = RosenbrockTableau(
    name="rodas3p",
    gamma="1/3",
    a=lower(["", "4/3", "0", "93/32 27/8 13/32", "93/32 27/8 13/32"]),
    C=lower(["", "-4", "33/4 27/4", "39/32 -81/16 -63/32", "129/32 -243/16 -129/32 6"]),
    b="93/32 27/8 13/32 0 1",
    c="0 4/9 0 1 1",
    d="1/3 -1/9 1 0 0",
    order=3,
    error_weights="0 0 0 -1 1",
    error_order=2,
    stability=Stability.L,
    source="Steinebach, Rosenbrock methods within OrdinaryDiffEq.jl, Proc. JuliaCon (2024)",
)

RODAS4 = RosenbrockTableau(
    name="rodas4",
    gamma="1/4",
    a=lower(
        [
            "",
            "1.544",
            "0.9466785280815826 0.2557011698983284",
            "3.314825187068521 2.896124015972201 0.9986419139977817",
            "1.221224509226641 6.019134481288629 12.53708332932087 -0.6878860361058950",
            "1.221224509226641 6.019134481288629 12.53708332932087 -0.6878860361058950 1",
        ]
    ),
    C=lower(
        [
            "",
            "-5.6688",
            "-2.430093356833875 -0.2063599157091915",
            "-0.1073529058151375 -9.594562251023355 -20.47028614809616",
            "7.496443313967647 -10.24680431464352 -33.99990352819905 11.70890893206160",
            """8.083246795921522 -7.981132988064893 -31.52159432874371 16.31930543123136
            -6.058818238834054""",
        ]
    ),
    b="1.221224509226641 6.019134481288629 12.53708332932087 -0.6878860361058950 1 1",
    c="0 0.386 0.21 0.63 1 1",
    d="1/4 -0.1043 0.1035 -0.0362 0 0",
    order=4,
    error_weights="0 0 0 0 0 1",
    error_order=3,
    stability=Stability.L,
    source="H&W IV.7, eq. 7.26, and the authors' code RODAS, first coefficient set",
    aliases=("rodas",),
)

RODAS5P = RosenbrockTableau(
    name="rodas5p",
    gamma="0.21193756319429014",
    a=lower(
        [
            "",
            "3",
            "2.849394379747939 0.45842242204463923",
            "-6.954028509809101 2.489845061869568 -10.358996098473584",
            "2.8029986275628964 0.5072464736228206 -0.3988312541770524 -0.04721187230404641",
            """-7.502846399306121 2.561846144803919 -11.627539656261098 -0.18268767659942256
            0.030198172008377946""",
            """-7.502846399306121 2.561846144803919 -11.627539656261098 -0.18268767659942256
            0.030198172008377946 1""",
            """-7.502846399306121 2.561846144803919 -11.627539656261098 -0.18268767659942256
            0.030198172008377946 1 1""",
        ]
    ),
    C=lower(
        [
            "",
            "-14.155112264123755",
            "-17.97296035885952 -2.859693295451294",
            "147.12150275711716 -1.41221402718213 71.68940251302358",
            "165.43517024871676 -0.4592823456491126 42.90938336958603 -5.961986721573306",
            """24.854864614690072 -3.0009227002832186 47.4931110020768 5.5814197821558125
            -0.6610691825249471""",
            """30.91273214028599 -3.1208243349937974 77.79954646070892 34.28646028294783
            -19.097331116725623 -28.087943162872662""",
            """37.80277123390563 -3.2571969029072276 112.26918849496327 66.9347231244047
            -40.06618937091002 -54.66780262877968 -9.48861652309627""",
        ]
    ),
    b="""-7.502846399306121 2.561846144803919 -11.627539656261098 -0.18268767659942256
    0.030198172008377946 1 1 1""",
    c="0 0.6358126895828704 0.4095798393397535 0.9769306725060716 0.4288403609558664 1 1 1",
    d="""0.21193756319429014 -0.42387512638858027 -0.3384627126235924 1.8046452872882734
    2.325825639765069 0 0 0""",
    order=5,
    error_weights="0 0 0 0 0 0 0 1",
    error_order=4,
    stability=Stability.L,
    source="Steinebach, BIT 63 (2023), article 27, table 1; coefficients as in OrdinaryDiffEq.jl",
)

ROSENBROCK = (_ros3p(), _rosenbrock23(), RODAS3P, RODAS4, RODAS5P)
