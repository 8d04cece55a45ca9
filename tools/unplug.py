"""Show that no module can come loose unnoticed: take out each registration, and see a test fail.

A module is plugged in at a few places: a router in a list, a middleware, a health check, a job by
the clock. `tools/registrations.py` has them all. A variant with all modules is generated (or one is
given that has been synced), each registration is taken out of a copy, and the tests that are named
for it are run there. Before that, all of them have to pass.

    python tools/unplug.py postgresql build/                     generate, sync, unplug
    python tools/unplug.py sqlite build/ --modules redis s3      some modules
    python tools/unplug.py postgresql build/ --keep              use the project that is there
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

# Run as a script, the folder of the script is what Python looks in.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools import plant, variant
from tools.registrations import REGISTRATIONS

FAILED = re.compile(r"\b\d+ (failed|errors?)\b|while loading conftest")
"""What a run says in the end; without its settings a module can't even be imported by tests."""


def shows(output: str) -> bool:
    """Tell whether the tests have noticed."""
    return FAILED.search(output) is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", choices=variant.databases(), help="that of the variant")
    parser.add_argument("folder", type=Path, help="where its folder is made, or is")
    parser.add_argument("--keep", action="store_true", help="use the project that is there")
    parser.add_argument(
        "--modules", nargs="+", choices=variant.modules(), help="unplug these alone"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time [2]")
    parser.add_argument(
        "--at-once", action="store_true", help="do not see first whether all tests pass"
    )
    given = parser.parse_args(arguments)

    name = "-".join((given.database, *variant.modules()))
    environment = variant.environment(name, str(Path(sys.executable).resolve()))
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    del environment["PYTEST_ADDOPTS"]
    project = given.folder.resolve() / variant.SLUG
    if not (given.keep and project.exists()):
        variant.generate(name, given.folder)
    plant.sync(project, environment)
    chosen = [each for each in REGISTRATIONS if given.modules is None or each.rule in given.modules]
    outcomes = plant.plant(project, chosen, environment, jobs=given.jobs, first=not given.at_once)
    missed = [outcome for outcome in outcomes if not shows(outcome.output)]
    print(f"\n{len(outcomes)} registrations of {len({o.violation.rule for o in outcomes})} modules")
    print(os.linesep.join(plant.line(outcome) for outcome in missed))
    print(f"{len(missed)} of them can come loose unnoticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
