"""A solve with all decided but the numbers of its runs: what repeated solves find again."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from attrs import frozen

from cubie.kernel import BatchSolverKernel, make_inputs, make_outputs
from cubie.results import Result, make_result
from cubie.saving import SaveMode
from cubie.systems import Batch

FIRST_ROOM = 256  # points a run saved at every step has room for at first


@frozen
class PreparedSolve:
    """A kernel, and the checked settings that each launch hands it."""

    kernel: BatchSolverKernel
    mode: SaveMode
    dtype: np.dtype
    rtol: np.ndarray
    atol: np.ndarray
    max_step: float
    max_steps: int
    notes: tuple[str, ...]

    def run(
        self,
        batch: Batch,
        span: tuple[float, float],
        times: np.ndarray | None,
        first_step: float,
    ) -> Result:
        """Launch, with more room if steps did not fit, and shape the result.

        Parameters
        ----------
        batch : Batch
        span : (float, float)
        times : ndarray or None
            `t_eval`.
        first_step : float
            0 where it is estimated.
        """
        kernel, mode, dtype = self.kernel, self.mode, self.dtype
        n, n_runs = batch.y0.shape[0], batch.n_runs or 1
        arguments: dict[str, Any] = {
            "rtol": self.rtol,
            "atol": self.atol,
            "first_step": first_step,
            "max_step": self.max_step,
            "max_steps": self.max_steps,
            "save_times": () if times is None else times,
        }
        room = FIRST_ROOM if mode is SaveMode.STEPS else 0
        kernel.compiled  # noqa: B018  (compiled here, so that the clock below times solving only)
        while True:
            inputs = make_inputs(batch.y0, batch.parameters, span, dtype, room=room, **arguments)
            points = room if mode is SaveMode.STEPS else len(arguments["save_times"])
            outputs = make_outputs(mode, n, n_runs, points, dtype)
            start = time.perf_counter()
            kernel.launch(n_runs, inputs, outputs)
            seconds = time.perf_counter() - start
            needed = int(outputs.saved.max()) if mode is SaveMode.STEPS else 0
            if needed <= room:
                break
            room = needed
        return make_result(
            outputs,
            mode,
            batch.n_runs is None,
            (n, n_runs),
            times,
            span[1],
            kernel.plan,
            self.notes,
            seconds,
            kernel.integrator.algorithm,
        )
