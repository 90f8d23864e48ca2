#!/usr/bin/env python3
"""How fast snapshots are stored and fetched, beside an fsync of the same bytes.

A program of the test kit does it, on the disk of /var/tmp and in a bucket that it serves itself: images of 64 and 512 MiB
that nobody can compress, and of 512 MiB and 2 GiB of which half is holes, a quarter text and a quarter cannot be compressed.
"""

import json
import subprocess

import kit

COMMAND = ["cargo", "run", "--release", "--locked", "--quiet", "-p", "testkit", "--example", "snapshots", "--"]


def main():
    with kit.scratch() as directory:
        lines = subprocess.run([*COMMAND, directory], cwd=kit.ROOT, check=True, capture_output=True, text=True).stdout
    kit.report("snapshots", {"figures": [json.loads(line) for line in lines.splitlines()]})


if __name__ == "__main__":
    main()
