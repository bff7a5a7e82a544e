"""Several machines, as network namespaces with addresses of their own: one is cut off under way."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

import cubie
from tests.cubie.sweeps.decays import bytes_of, decays, environment

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None,
    reason="only the administrator may make network namespaces",
)
NET = "10.197.31."
LONG = 120.0  # seconds
# Who does not answer for so long has gone; Dask takes no less than 11 s, and 30 s by default.
PATIENCE = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s"}


def ip(*words):
    """Call the command that sets networks up."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def machines(n):
    """Give the names of machines that reach each other, and this one, by their addresses."""
    bridge, names = f"cub{os.getpid()}", []
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{NET}1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for k in range(n):
            name, here = f"{bridge}-{k}", f"{bridge}v{k}"
            ip("netns", "add", name)
            names.append(name)
            ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", here, "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{NET}{k + 2}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", bridge], check=False, capture_output=True)


@contextlib.contextmanager
def begun(machine, module, *arguments):
    """Run one of Dask's programs on a machine."""
    command = ["ip", "netns", "exec", machine, sys.executable, "-m", f"distributed.cli.{module}"]
    process = subprocess.Popen(
        [*command, "--no-dashboard", *arguments],
        env=environment() | PATIENCE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(LONG)


@pytest.mark.parametrize("lost", ["killed", "cut off"])
def test_a_machine_is_lost(tmp_path, lost):
    """Its chunks are computed by others, and what it had stored in the shared folder counts."""
    wanted = bytes_of(decays().run(progress=False))
    store, address = tmp_path / "runs.zarr", f"tcp://{NET}2:8786"
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(machines(3))
        stack.enter_context(
            begun(names[0], "dask_scheduler", "--host", f"{NET}2", "--port", "8786")
        )
        options = ["--nthreads", "1", "--no-nanny"]
        workers = [
            stack.enter_context(begun(name, "dask_worker", address, *options)) for name in names[1:]
        ]
        client = stack.enter_context(distributed.Client(address, timeout=LONG))
        client.wait_for_workers(2, timeout=LONG)

        def lose(progress):
            if progress.chunks_done == 6:
                if lost == "killed":
                    workers[1].kill()
                else:
                    ip("-n", names[2], "link", "set", "eth0", "down")

        found = client.run(lambda: json.dumps(os.uname().nodename))
        assert {host.split("//")[1].split(":")[0] for host in found} == {f"{NET}3", f"{NET}4"}
        sweep = decays(store).run(client, progress=lose)
        assert len(client.scheduler_info()["workers"]) == 1
        assert bytes_of(sweep) == bytes_of(cubie.Sweep.resume(store)) == wanted
