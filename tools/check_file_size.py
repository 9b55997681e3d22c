#!/usr/bin/env python3
"""Checks that no source file of the repository is longer than 800 lines. Data tables (*.inc) are free."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT = 800
SUFFIXES = {".h", ".cc", ".c", ".S", ".py", ".sh", ".cmake"}


def main():
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    too_long = []
    for name in names:
        path = ROOT / name
        if path.suffix in SUFFIXES and path.is_file():
            lines = len(path.read_text(errors="replace").splitlines())
            if lines > LIMIT:
                too_long.append(f"{name}: {lines} lines, at most {LIMIT}")
    for line in too_long:
        print(f"check_file_size: {line}", file=sys.stderr)
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
