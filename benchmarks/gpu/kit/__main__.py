"""``python -m benchmarks.gpu.kit FOLDER``: download wheels, strip them, and check their size.

Needs pip and a package index, and no GPU. `make gpu-kit` calls it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.environment import source_commit
from benchmarks.gpu.kit.contents import (
    CARRIED,
    MAX_BYTES,
    NOT_AMONG_SOURCES,
    PLATFORMS,
    PYTHON,
    SOURCES,
    is_stripped,
)

ROOT = Path(__file__).parents[3]
OWN_NEED = "packaging"  # reads versions, here and where the kit runs
MAX_ROUNDS = 5  # of looking for versions that suit each other
RUN = Path(__file__).with_name("run.py")


class TooLarge(Exception):
    """The kit has more bytes than it may; the message lists the largest files."""


def canonical(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def named_in(requirement: str) -> str:
    """Return the distribution that a requirement is about."""
    found = re.match(r"[A-Za-z0-9][\w.-]*", requirement)
    assert found is not None, requirement
    return canonical(found[0])


def bounds() -> dict[str, str]:
    """Return what cubie itself asks for, by distribution."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {named_in(text): text for text in project["dependencies"]}


def metadata_of(wheel: Path) -> tuple[str, str, list[str]]:
    """Return a wheel's distribution, its version, and what it asks for without extras."""
    with zipfile.ZipFile(wheel) as archive:
        path = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        text = archive.read(path).decode().partition("\n\n")[0]
    fields = [line.partition(": ") for line in text.splitlines()]
    values = {key: value for key, _, value in fields if key in ("Name", "Version")}
    asked = [value for key, _, value in fields if key == "Requires-Dist"]
    return canonical(values["Name"]), values["Version"], [a for a in asked if "extra ==" not in a]


def download(requirements: list[str], python: str, folder: Path) -> None:
    """Let pip fetch wheels of these for 64-bit x86 Linux, without what they ask for."""
    tag = python.replace(".", "")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}",
        *(f"--abi={abi}" for abi in (f"cp{tag}", "abi3", "none")),
        *(f"--platform={platform}" for platform in PLATFORMS), "-d", str(folder),
    ]  # fmt: skip
    subprocess.run([*command, *requirements], check=True)


def own_wheel(folder: Path) -> None:
    """Build the wheel of these sources."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)


def write_stripped(wheel: Path, target: Path, name: str) -> int:
    """Copy a wheel without what `contents.STRIPPED` names; return how many files that leaves out.

    Its list of files is made to agree, so that it can still be installed.
    """
    with (
        zipfile.ZipFile(wheel) as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as kept,
    ):
        left_out = {i.filename for i in source.infolist() if is_stripped(name, i.filename)}
        for info in source.infolist():
            content = source.read(info)
            if info.filename in left_out:
                continue
            if info.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(
                    line for line in lines if line.rsplit(",", 2)[0].strip('"') not in left_out
                ).encode()
            kept.writestr(info, content, zipfile.ZIP_DEFLATED, 9)
    return len(left_out)


def write_sources(target: Path) -> None:
    """Pack what `python -m benchmarks gpu` needs beside the wheels."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in SOURCES:
            top = ROOT / name
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                parts = path.relative_to(ROOT).parts
                if path.is_file() and not set(parts) & set(NOT_AMONG_SOURCES):
                    archive.write(path, "/".join(parts))


def needed_of_the_machine(
    wheels: list[Path], python: str
) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return what wheels ask for and none of them is, and bounds of those that do not suit.

    The first as name, specifier and who asks; the second as requirements by name.
    """
    known = [metadata_of(wheel) for wheel in wheels]
    carried = {name: version for name, version, _ in known}
    sys.path.insert(0, str(next(w for w in wheels if w.name.startswith(f"{OWN_NEED}-"))))
    from packaging.requirements import Requirement

    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    environment |= {"sys_platform": "linux", "platform_system": "Linux"}
    needed, unfit, asked_of = [], set(), {}
    for by, _, requirements in known:
        for text in requirements:
            asked = Requirement(text)
            name = canonical(asked.name)
            if asked.marker is not None and not asked.marker.evaluate(environment):
                continue
            asked_of.setdefault(name, []).append(str(asked.specifier))
            if name not in carried:
                needed.append({"name": name, "asked": str(asked.specifier), "asked_by": by})
            elif not asked.specifier.contains(carried[name], prereleases=True):
                unfit.add(name)
    return needed, {name: name + ",".join(filter(None, asked_of[name])) for name in unfit}


def fetch(required: list[str], without: list[str], python: str, folder: Path) -> list[dict]:
    """Fill a folder with wheels that suit each other; return what they need of the machine.

    Raises
    ------
    SystemExit
        If there are no such wheels.
    """
    own_wheel(folder)
    missing = requirements(required, without)
    for _ in range(MAX_ROUNDS):
        download(missing, python, folder)
        wheels = sorted(folder.glob("*.whl"))
        needed, bounds_of_unfit = needed_of_the_machine(wheels, python)
        if not bounds_of_unfit:
            return needed
        for wheel in wheels:
            if metadata_of(wheel)[0] in bounds_of_unfit:
                wheel.unlink()
        missing = list(bounds_of_unfit.values())
    sys.exit(f"No versions were found that suit all wheels: {', '.join(missing)}.")


def requirements(required: list[str], without: list[str]) -> list[str]:
    """Return what is downloaded: the bounds of cubie, and those given, which count more.

    Raises
    ------
    SystemExit
        For a name that the kit does not carry.
    """
    chosen = {name: name for name in CARRIED} | {k: v for k, v in bounds().items() if k in CARRIED}
    given = {named_in(text): text for text in required}
    for name in [*given, *without]:
        if canonical(name) not in chosen:
            sys.exit(f"The kit does not carry {name}; it carries {', '.join(CARRIED)}.")
    if OWN_NEED in map(canonical, without):
        sys.exit(f"The kit itself needs {OWN_NEED}; it cannot be left out.")
    chosen |= given
    return [text for name, text in chosen.items() if name not in map(canonical, without)]


def make(target: Path, python: str, required: list[str], without: list[str]) -> dict[str, Any]:
    """Make the kit in a folder, which is emptied first; return what is in it.

    Raises
    ------
    TooLarge
    """
    shutil.rmtree(target, ignore_errors=True)
    (target / "wheels").mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="gpu-kit-") as scratch:
        found = Path(scratch)
        needed = fetch(required, without, python, found)
        if "pytest" in map(canonical, without):
            needed.append({"name": "pytest", "asked": "", "asked_by": "the tests"})
        carried, stripped = {}, {}
        for wheel in sorted(found.glob("*.whl")):
            name, version, _ = metadata_of(wheel)
            carried[name] = version
            left_out = write_stripped(wheel, target / "wheels" / wheel.name, name)
            if left_out:
                stripped[name] = left_out
    write_sources(target / "sources.zip")
    shutil.copy(RUN, target / "run.py")
    kit = {
        "python": python,
        "commit": source_commit(),
        "carried": carried,
        "from_machine": needed,
        "numba": bounds()["numba"].removeprefix("numba"),
        "files_left_out": stripped,
        "sources_sha256": _digest(target / "sources.zip"),
    }
    (target / "kit.json").write_text(json.dumps(kit, indent=1) + "\n", encoding="utf-8")
    check_size(target)
    return kit


def _digest(path: Path) -> str:
    return base64.b16encode(hashlib.sha256(path.read_bytes()).digest()).decode().lower()


def size_of(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_size(folder: Path, limit: int = MAX_BYTES) -> None:
    """Refuse a kit of more than `limit` bytes.

    Raises
    ------
    TooLarge
    """
    total = size_of(folder)
    if total > limit:
        files = sorted(
            (p for p in folder.rglob("*") if p.is_file()), key=lambda p: -p.stat().st_size
        )
        largest = ", ".join(f"{p.name} {p.stat().st_size / 2**20:.1f}" for p in files[:5])
        raise TooLarge(
            f"The kit has {total / 2**20:.1f} MiB, and may have {limit / 2**20:.1f}. The largest, "
            f"in MiB: {largest}. Leave out what the machine has: --without NAME, or strip more "
            "in benchmarks/gpu/kit/contents.py."
        )


def main() -> None:
    """Parse the command line and make the kit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.kit", description=__doc__)
    parser.add_argument("folder", type=Path, help="emptied, and filled with the kit")
    parser.add_argument("--python", default=PYTHON, help=f"of the machine; {PYTHON} if not given")
    parser.add_argument("--require", action="append", default=[], metavar="NAME==VERSION",
                        help="instead of the newest that suits; may be given again")  # fmt: skip
    parser.add_argument("--without", action="append", default=[], metavar="NAME",
                        help="the machine's own is to serve; may be given again")  # fmt: skip
    options = parser.parse_args()
    try:
        kit = make(options.folder, options.python, options.require, options.without)
    except TooLarge as error:
        sys.exit(str(error))
    for name, version in sorted(kit["carried"].items()):
        left_out = kit["files_left_out"].get(name)
        print(f"  {name} {version}" + (f" ({left_out} files left out)" if left_out else ""))
    needs = {f"{need['name']}{need['asked']}" for need in kit["from_machine"]}
    print(f"The machine must have: {', '.join(sorted(needs))}, and the CUDA toolkit.")
    total = size_of(options.folder) / 2**20
    print(f"{options.folder}: {total:.1f} of {MAX_BYTES / 2**20:.0f} MiB. There: python3 run.py")


if __name__ == "__main__":
    main()
