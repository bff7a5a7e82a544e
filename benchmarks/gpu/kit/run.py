"""Run cubie's benchmarks on a machine with a GPU and no network: ``python3 run.py --minutes 10``.

Installs nothing: the wheels beside this file are unpacked into a folder (``--unpack``; "unpacked"
beside this file unless told otherwise), and Python finds them there before the machine's own.
Other arguments go to ``python -m benchmarks gpu``. The compilers are the machine's: llvmlite, and
the CUDA toolkit with the packages cuda-bindings, cuda-core and cuda-pathfinder.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEARCHED = sys.path[1:]  # the machine's: without this folder, and before the kit's is added
# Wheels that have a folder of their own, since the machine's may have to serve instead.
APART = "numba"
# Run by Python as it starts. Path configuration files work in site directories only: numba-cuda
# takes the place of numba's own `numba.cuda` by one.
START = '''"""Treat this folder as a site directory, and run what the machine has of this name."""
import importlib.machinery
import importlib.util
import os
import site
import sys

_own = os.path.dirname(os.path.abspath(__file__))
site.addsitedir(_own)
_others = [path for path in sys.path if os.path.abspath(path) != _own]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
'''


def unpack(kit: dict, folder: Path) -> None:
    """Unpack wheels and sources, unless the folder holds those of this kit."""
    done = folder / "kit.sha256"
    digest = hashlib.sha256(json.dumps(kit, sort_keys=True).encode()).hexdigest()
    if done.exists() and done.read_text() == digest:
        return
    for wheel in sorted((HERE / "wheels").glob("*.whl")):
        apart = wheel.name.startswith(f"{APART}-")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / (APART if apart else "site"))
    with zipfile.ZipFile(HERE / "sources.zip") as archive:
        archive.extractall(folder / "sources")
    (folder / "site" / "sitecustomize.py").write_text(START)
    done.write_text(digest)


def distribution_here(name: str):
    """Return a distribution of the machine, None where it has none of that name."""
    return next(iter(metadata.distributions(name=name, path=SEARCHED)), None)


def version_here(name: str):
    """Return the version of a distribution of the machine, None where it has none."""
    found = distribution_here(name)
    return None if found is None else found.version


def suits(found, asked: str) -> bool:
    """Tell whether a version is there and is one of those that are asked for."""
    from packaging.specifiers import SpecifierSet

    return found is not None and SpecifierSet(asked).contains(found, prereleases=True)


def own_numba_serves(kit: dict) -> bool:
    """Tell whether the machine's numba runs with cubie and with the NumPy of the kit."""
    from packaging.requirements import Requirement

    numba = distribution_here("numba")
    if numba is None or not suits(numba.version, kit["numba"]):
        return False
    versions = {"numpy": kit["carried"].get("numpy"), "llvmlite": version_here("llvmlite")}
    asked = [Requirement(text) for text in numba.requires or []]
    return all(
        suits(versions[need.name] or version_here(need.name), str(need.specifier))
        for need in asked
        if need.name in versions
    )


def machine_report(kit: dict) -> list:
    """Return lines about what the machine must have of its own."""
    lines = []
    for need in kit["from_machine"]:
        found = version_here(need["name"])
        fits = suits(found, need["asked"])
        lines.append(
            f"{'ok  ' if fits else 'NOT '} {need['name']} {found or 'is missing'}; "
            f"{need['asked_by']} asks for {need['asked'] or 'any'}"
        )
    return lines


def choose_numba(kit: dict) -> bool:
    """Return whether the kit's numba is to be used; the llvmlite of the machine decides.

    Raises
    ------
    SystemExit
        Where neither it nor the machine's can be.
    """
    if "numba" not in kit["carried"]:
        if own_numba_serves(kit):
            return False
        reason = "the kit carries none"
    else:
        asked = ",".join(
            need["asked"]
            for need in kit["from_machine"]
            if need["name"] == "llvmlite" and need["asked"]
        )
        if suits(version_here("llvmlite"), asked):
            return True
        if own_numba_serves(kit):
            return False
        reason = f"the kit's {kit['carried']['numba']} asks for llvmlite {asked}"
    sys.exit(
        f"No numba can run here: the machine's llvmlite is {version_here('llvmlite') or 'missing'} "
        f"and its numba {version_here('numba') or 'missing'}, cubie asks for numba "
        f"{kit['numba']}, and {reason}. Make the kit with a numba that fits the machine's "
        "llvmlite: make gpu-kit "
        "KIT_OPTIONS='--require numba==VERSION'."
    )


def main() -> None:
    """Unpack, look at what the machine has, and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unpack", type=Path, default=HERE / "unpacked")
    options, rest = parser.parse_known_args()
    kit = json.loads((HERE / "kit.json").read_text())
    here = ".".join(map(str, sys.version_info[:2]))
    if here != kit["python"]:
        sys.exit(f"The kit's wheels are for Python {kit['python']}, and this is {here}.")
    folder = options.unpack.resolve()
    try:
        unpack(kit, folder)
    except OSError as error:
        sys.exit(f"Nothing can be unpacked into {folder} ({error}); give another: --unpack DIR.")
    sys.path.insert(0, str(folder / "site"))  # for `packaging`
    print("\n".join(machine_report(kit)), flush=True)
    kits_numba = choose_numba(kit)
    chosen = kit["carried"]["numba"] if kits_numba else f"{version_here('numba')} of the machine"
    print(f"numba {chosen} is used", flush=True)
    site = [folder / "site"] + ([folder / APART] if kits_numba else [])
    before = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*map(str, site), *([before] if before else [])]),
        "CUBIE_COMMIT": kit["commit"] or "",
        "CUBIE_CACHE_DIR": os.environ.get("CUBIE_CACHE_DIR", str(folder / "cache")),
    }
    if not any(word.startswith("--results") for word in rest):
        rest += ["--results", str(folder / "results")]
    command = [sys.executable, "-m", "benchmarks", "gpu", *rest]
    sys.exit(subprocess.run(command, cwd=folder / "sources", env=environment).returncode)


if __name__ == "__main__":
    main()
