"""
Flight to a station in geostationary orbit
==========================================

A craft in a low orbit burns its engine once, and flies along half an ellipse to the height of a
station: Hohmann's transfer (1925). It meets the station only if that is ahead by the right angle
at the start. We fly 801 craft, each at another angle, and find for each when it comes closest.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

mu = 398_600.4418  # of the Earth, km^3 / s^2
low, high = 6678.0, 42_164.0  # radii, km
turn = np.sqrt(mu / high**3)  # of the station, per second
burn = np.sqrt(mu / low) * (np.sqrt(2 * high / (low + high)) - 1)
print(f"the burn adds {burn:.3f} km/s")


def gap(t, y, ahead):
    """Return where the craft is from the station, and how fast that changes."""
    x, y_, vx, vy = y
    s, c = np.sin(ahead + turn * t), np.cos(ahead + turn * t)
    return x - high * c, y_ - high * s, vx + high * turn * s, vy - high * turn * c


def craft(t, y, ahead):
    x, y_, vx, vy = y
    pull = -mu / (x**2 + y_**2) ** 1.5
    return [vx, vy, pull * x, pull * y_]


def approach(t, y, ahead):
    dx, dy, du, dv = gap(t, y, ahead)
    return dx * du + dy * dv


# %%
# Where the distance has stopped to shrink and begins to grow, the craft is closest.
transfer = np.pi * np.sqrt(((low + high) / 2) ** 3 / mu)
ahead = np.radians(np.linspace(92, 108, 801))
speed = np.sqrt(mu / low) + burn
flights = cubie.solve_ivp(
    craft,
    (0, 1.5 * transfer),
    [low, 0.0, 0.0, speed],
    args=(ahead,),
    events=cubie.Event(approach, direction=1),
    rtol=1e-10,
    atol=1e-8,
)
times, states = flights.t_events[0], flights.y_events[0]
x, y, _, _ = gap(times, np.moveaxis(states, -1, 0), ahead[:, None])
miss = np.nanmin(np.hypot(x, y), axis=1)

# %%
# Both arrive together if the station needs as long for the rest of its way.
best = np.degrees(ahead[np.argmin(miss)])
known = 180 * (1 - ((low + high) / (2 * high)) ** 1.5)
print(
    f"least miss {miss.min():.0f} km with the station {best:.2f}° ahead; closed form: {known:.2f}°"
)
assert abs(best - known) < 0.05

# %%
along = np.linspace(0, transfer, 200)
path = cubie.solve_ivp(
    craft, (0, transfer), [low, 0.0, 0.0, speed], args=(0.0,), t_eval=along, rtol=1e-10
)
around = np.linspace(0, 2 * np.pi, 200)
fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
for radius in (low, high):
    left.plot(radius * np.cos(around), radius * np.sin(around), color="0.7", linewidth=1)
left.plot(path.y[0], path.y[1], color="#4a6fa5")
start = np.radians(known)
left.plot(high * np.cos(start), high * np.sin(start), "o", color="#c05621", label="station, start")
left.plot(-high, 0, "*", color="#2f855a", markersize=12, label="they meet")
left.set(aspect="equal", xlabel="km", ylabel="km")
left.legend(loc="lower right")
right.semilogy(np.degrees(ahead), miss)
right.axvline(known, color="k", linestyle="--", linewidth=1, label="closed form")
right.set(xlabel="station ahead (degrees)", ylabel="closest approach (km)")
right.legend()
plt.show()
