"""Stiff problems in plain SciPy form with published solutions.

H&W = Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd edition,
IV.10. Testset = Mazzia & Magherini, Test Set for Initial Value Problem Solvers,
release 2.4 (2008), which prints the solutions at the end.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np

from tests.oracle.problems import Problem, brusselator


def robertson(t, y):
    """Three reactions whose rates span nine orders of magnitude."""
    slow, fast, back = 0.04 * y[0], 3e7 * y[1] * y[1], 1e4 * y[1] * y[2]
    return [-slow + back, slow - back - fast, fast]


def hires(t, y):
    """High irradiance response of a plant: eight reactants."""
    coupling = 280.0 * y[5] * y[7]
    return [
        -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
        1.71 * y[0] - 8.75 * y[1],
        -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
        8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
        -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6],
        -coupling + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
        coupling - 1.81 * y[6],
        -coupling + 1.81 * y[6],
    ]


def oregonator(t, y):
    """The Belousov-Zhabotinskii reaction: a periodic solution with steep fronts."""
    return [
        77.27 * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1])),
        (y[2] - (1 + y[0]) * y[1]) / 77.27,
        0.161 * (y[0] - y[2]),
    ]


def van_der_pol(t, y, mu=1000.0):
    """Relaxation oscillator, unscaled."""
    return [y[1], mu * (1 - y[0] * y[0]) * y[1] - y[0]]


def e5(t, y):
    """Chemical pyrolysis: components fall below 1e-20 and still matter."""
    a, b, c, m = 7.89e-10, 1.1e7, 1.13e3, 1e6
    second = a * y[0] - m * c * y[1] * y[2]
    fourth = b * y[0] * y[2] - c * y[3]
    # Written as a difference, the invariant y2 - y3 - y4 survives rounding.
    return [-a * y[0] - b * y[0] * y[2], second, second - fourth, fourth]


def e5_jacobian(t, y):
    """Jacobian of `e5`: differences fail where components are 1e-22."""
    a, b, c, m = 7.89e-10, 1.1e7, 1.13e3, 1e6
    second = [a, -m * c * y[2], -m * c * y[1], 0.0]
    fourth = [b * y[2], 0.0, b * y[0], -c]
    third = [p - q for p, q in zip(second, fourth, strict=True)]
    return [[-a - b * y[2], 0.0, -b * y[0], 0.0], second, third, fourth]


def ring_modulator(t, y):
    """Electrical circuit with diodes, driven by two signals; Cs = 2e-12."""
    c, cs, cp = 1.6e-8, 2e-12, 1e-8
    lh, ls1, ls2, ls3 = 4.45, 0.002, 5e-4, 5e-4
    gamma, r, rp = 40.67286402e-9, 25000.0, 50.0
    rg1, rg2, rg3, ri, rc, delta = 36.3, 17.3, 17.3, 50.0, 600.0, 17.7493332
    uin1 = 0.5 * np.sin(2e3 * np.pi * t)
    uin2 = 2.0 * np.sin(2e4 * np.pi * t)
    ud1 = y[2] - y[4] - y[6] - uin2
    ud2 = -y[3] + y[5] - y[6] - uin2
    ud3 = y[3] + y[4] + y[6] + uin2
    ud4 = -y[2] - y[5] + y[6] + uin2
    q1, q2, q3, q4 = (gamma * (np.exp(delta * u) - 1) for u in (ud1, ud2, ud3, ud4))
    return [
        (y[7] - 0.5 * y[9] + 0.5 * y[10] + y[13] - y[0] / r) / c,
        (y[8] - 0.5 * y[11] + 0.5 * y[12] + y[14] - y[1] / r) / c,
        (y[9] - q1 + q4) / cs,
        (-y[10] + q2 - q3) / cs,
        (y[11] + q1 - q3) / cs,
        (-y[12] - q2 + q4) / cs,
        (-y[6] / rp + q1 + q2 - q3 - q4) / cp,
        -y[0] / lh,
        -y[1] / lh,
        (0.5 * y[0] - y[2] - rg2 * y[9]) / ls2,
        (-0.5 * y[0] + y[3] - rg3 * y[10]) / ls3,
        (0.5 * y[1] - y[4] - rg2 * y[11]) / ls2,
        (-0.5 * y[1] + y[5] - rg3 * y[12]) / ls3,
        (-y[0] + uin1 - (ri + rg1) * y[13]) / ls1,
        (-y[1] - (rc + rg1) * y[14]) / ls1,
    ]


def pleiades(t, y):
    """Seven stars in a plane, body i of mass i: positions x, y, then velocities."""
    derivative = [y[14 + i] for i in range(14)]
    for axis in (0, 7):
        for i in range(7):
            pull = 0.0
            for j in range(7):
                if j != i:
                    distance = (y[i] - y[j]) ** 2 + (y[7 + i] - y[7 + j]) ** 2
                    pull = pull + (j + 1) * (y[axis + j] - y[axis + i]) / distance**1.5
            derivative.append(pull)
    return derivative


# Each reaction: rate constant, reactants (numbered from 1), and what it makes.
_POLLU = (
    (0.35, (1,), (2, 3)),
    (26.6, (2, 4), (1,)),
    (1.23e4, (5, 2), (6, 1)),
    (8.6e-4, (7,), (5, 5, 8)),
    (8.2e-4, (7,), (8,)),
    (1.5e4, (7, 6), (5, 8)),
    (1.3e-4, (9,), (5, 8, 10)),
    (2.4e4, (9, 6), (11,)),
    (1.65e4, (11, 2), (1, 12, 10)),
    (9.0e3, (11, 1), (13,)),
    (2.2e-2, (13,), (11, 1)),
    (1.2e4, (10, 2), (1, 14)),
    (1.88, (14,), (7, 5)),
    (1.63e4, (1, 6), (15,)),
    (4.8e6, (3,), (4,)),
    (3.5e-4, (4,), (16,)),
    (1.75e-2, (4,), (3,)),
    (1.0e8, (16,), (6, 6)),
    (4.44e11, (16,), (3,)),
    (1.24e3, (17, 6), (18, 5)),
    (2.1, (19,), (2,)),
    (5.78, (19,), (1, 3)),
    (4.74e-2, (1, 4), (19,)),
    (1.78e3, (19, 1), (20,)),
    (3.12, (20,), (19, 1)),
)


def pollu(t, y):
    """Air pollution: 25 reactions of 20 species by the law of mass action."""
    derivative = [0.0] * 20
    for rate, reactants, products in _POLLU:
        speed = rate
        for species in reactants:
            speed = speed * y[species - 1]
        for species in reactants:
            derivative[species - 1] = derivative[species - 1] - speed
        for species in products:
            derivative[species - 1] = derivative[species - 1] + speed
    return derivative


ROBERTSON = Problem(
    "robertson",
    robertson,
    (0.0, 1e11),
    (1.0, 0.0, 0.0),
    "Robertson (1966); H&W ROBER; Testset",
    published=(0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050),
)

HIRES = Problem(
    "hires",
    hires,
    (0.0, 321.8122),
    (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057),
    "Schaefer (1975); H&W HIRES; Testset",
    published=(
        0.7371312573325668e-3,
        0.1442485726316185e-3,
        0.5888729740967575e-4,
        0.1175651343283149e-2,
        0.2386356198831331e-2,
        0.6238968252742796e-2,
        0.2849998395185769e-2,
        0.2850001604814231e-2,
    ),
)

OREGONATOR = Problem(
    "oregonator",
    oregonator,
    (0.0, 360.0),
    (1.0, 2.0, 3.0),
    "Field & Noyes (1974); H&W OREGO; Testset",
    published=(0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3),
)

VAN_DER_POL = Problem(
    "van_der_pol",
    van_der_pol,
    (0.0, 2000.0),
    (2.0, 0.0),
    "van der Pol (1926); Testset, mu = 1000",
    published=(0.1706167732170483e1, -0.8928097010247975e-3),
)

E5 = Problem(
    "e5",
    e5,
    (0.0, 1e13),
    (1.76e-3, 0.0, 0.0, 0.0),
    "Enright, Hull & Lindberg (1975), problem E5; H&W E5; Testset",
    jac=e5_jacobian,
    floor=1e-24,
    published=(0.1152903278711829e-290, 0.8867655517642120e-22, 0.8854814626268838e-22, 0.0),
)

RING_MODULATOR = Problem(
    "ring_modulator",
    ring_modulator,
    (0.0, 1e-3),
    (0.0,) * 15,
    "Horneber (1976); H&W RING; Testset",
    floor=1e-6,
    published=(
        -0.2339057358486745e-1,
        -0.7367485485540825e-2,
        0.2582956709291169,
        -0.4064465721283450,
        -0.4039455665149794,
        0.2607966765422943,
        0.1106761861269975,
        0.2939904342435596e-6,
        -0.2840029933642329e-7,
        0.7267198267264553e-3,
        0.7929487196960840e-3,
        -0.7255283495698965e-3,
        -0.7941401968526521e-3,
        0.7088495416976114e-4,
        0.2390059075236570e-4,
    ),
)

PLEIADES = Problem(
    "pleiades",
    pleiades,
    (0.0, 3.0),
    (
        *(3.0, 3.0, -1.0, -3.0, 2.0, -2.0, 2.0),
        *(3.0, -3.0, 2.0, 0.0, 0.0, -4.0, 4.0),
        *(0.0, 0.0, 0.0, 0.0, 0.0, 1.75, -1.5),
        *(0.0, 0.0, 0.0, -1.25, 1.0, 0.0, 0.0),
    ),
    "Hairer, Norsett & Wanner I, II.10, PLEI; Testset",
    published=(
        *(0.3706139143970502, 0.3237284092057233e1, -0.3222559032418324e1, 0.6597091455775310),
        *(0.3425581707156584, 0.1562172101400631e1, -0.7003092922212495),
        *(-0.3943437585517392e1, -0.3271380973972550e1, 0.5225081843456543e1),
        *(-0.2590612434977470e1, 0.1198213693392275e1, -0.2429682344935824),
        0.1091449240428980e1,
        *(0.3417003806314313e1, 0.1354584501625501e1, -0.2590065597810775e1),
        *(0.2025053734714242e1, -0.1155815100160448e1, -0.8072988170223021, 0.5952396354208710),
        *(-0.3741244961234010e1, 0.3773459685750630, 0.9386858869551073, 0.3667922227200571),
        *(-0.3474046353808490, 0.2344915448180937e1, -0.1947020434263292e1),
    ),
)

_POLLU_START = {2: 0.2, 4: 0.04, 7: 0.1, 8: 0.3, 9: 0.01, 17: 0.007}

POLLU = Problem(
    "pollu",
    pollu,
    (0.0, 60.0),
    tuple(_POLLU_START.get(species, 0.0) for species in range(1, 21)),
    "Verwer, SIAM J. Sci. Comput. 15 (1994), 1243-1250; Testset",
    published=(
        0.5646255480022769e-1,
        0.1342484130422339,
        0.4139734331099427e-8,
        0.5523140207484359e-2,
        0.2018977262302196e-6,
        0.1464541863493966e-6,
        0.7784249118997964e-1,
        0.3245075353396018,
        0.7494013383880406e-2,
        0.1622293157301561e-7,
        0.1135863833257075e-7,
        0.2230505975721359e-2,
        0.2087162882798630e-3,
        0.1396921016840158e-4,
        0.8964884856898295e-2,
        0.4352846369330103e-17,
        0.6899219696263405e-2,
        0.1007803037365946e-3,
        0.1772146513969984e-5,
        0.5682943292316392e-4,
    ),
)

BRUSSELATOR = brusselator(20)

STIFF = (
    ROBERTSON,
    HIRES,
    OREGONATOR,
    VAN_DER_POL,
    E5,
    RING_MODULATOR,
    PLEIADES,
    POLLU,
)

STIFF_BY_NAME = {problem.name: problem for problem in (*STIFF, BRUSSELATOR)}


@cache
def stiff_references(complete=False):
    """Return {problem: solution at the end (n,)}, good to 1e-10; or all that is stored of it.

    Made by `make_stiff_references`; the file says how, and how well they agree with other solvers.
    """
    path = Path(__file__).with_name("stiff_references.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored if complete else {name: np.array(entry["y"]) for name, entry in stored.items()}
