"""
Ignition delay of a combustible gas
===================================

A gas that is heated suddenly seems to rest, and explodes: its reaction heats it, and the heat
drives the reaction. How long it waits depends on the temperature it starts from as Arrhenius'
plot shows. For a large activation energy the delay has the closed form of Semenov and
Frank-Kamenetskii, up to a part of the order R T / E.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import quad

import cubie

activation = 20_000.0  # E / R, in K
heat = 1500.0  # rise of the temperature when all fuel is burnt, in K
frequency = 1e9  # per second


def gas(t, y, start):
    fuel, temperature = y
    rate = frequency * fuel * np.exp(-activation / temperature)
    return [-rate, heat * rate]


# %%
# The run ends when half of the fuel is burnt, however long that takes. Each starts from a state
# of its own; the method is for stiff equations, and the tolerance of the fuel says what counts.
start = np.linspace(900, 1400, 501)
runs = cubie.solve_ivp(
    gas,
    (0, np.inf),
    np.stack([np.ones_like(start), start], axis=1),
    args=(start,),
    events=cubie.Event(lambda t, y, start: y[0] - 0.5, terminal=True),
    method="rodas5p",
    rtol=1e-8,
    atol=1e-10,
)
delay = runs.t_reached


# %%
# Burnt fuel and temperature go together, so the delay is an integral over the temperature; its
# asymptotic value is its leading term.
def burning(temperature, begin):
    fuel = 1 - (temperature - begin) / heat
    return 1 / (heat * frequency * fuel * np.exp(-activation / temperature))


for k in (0, 250, 500):
    exact, _ = quad(burning, start[k], start[k] + heat / 2, (start[k],), epsrel=1e-10, limit=200)
    print(f"{start[k]:.0f} K: {delay[k]:.6g} s; integral: {exact:.6g} s")
    assert np.isclose(delay[k], exact, rtol=1e-5)
asymptotic = start**2 / activation / heat / frequency * np.exp(activation / start)

# %%
some = np.array([1000.0, 1020.0, 1040.0])
times = np.linspace(0, 0.08, 801)
courses = cubie.solve_ivp(
    gas,
    (0, 0.08),
    np.stack([np.ones(3), some], axis=1),
    args=(some,),
    t_eval=times,
    method="rodas5p",
    rtol=1e-8,
    atol=1e-10,
)
fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
for begin, course in zip(some, courses.y[:, 1], strict=True):
    left.plot(1000 * times, course, label=f"from {begin:.0f} K")
left.set(xlabel="time (ms)", ylabel="temperature (K)")
left.legend()
right.semilogy(1000 / start, delay, linewidth=3, label="solved")
right.semilogy(1000 / start, asymptotic, "k--", linewidth=1, label="asymptotic")
right.set(xlabel="1000 K / T", ylabel="ignition delay (s)")
right.legend()
plt.show()
