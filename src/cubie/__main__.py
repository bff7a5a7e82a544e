"""``python -m cubie``: versions, targets, devices and cache, and a small solve on each target."""

import sys

from cubie.backend import targets_here
from cubie.versions import self_check, show_versions


def main() -> int:
    """Print all of it; return 0 where every target solves right, and 1 elsewhere."""
    show_versions()
    checks = [self_check(target) for target in targets_here()]
    for check in checks:
        told = check.failure or f"right, with an error of {check.error:.0e}"
        print(f"{'solve':9} {check.target} in {check.seconds:.1f} s: {told}")
    return 1 if any(check.failure for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
