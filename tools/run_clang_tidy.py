#!/usr/bin/env python3
"""Runs clang-tidy-19 over the sources of a build: run_clang_tidy.py BUILD [--budget SECONDS].

A file that passed with the same text, headers and settings before is not checked again (BUILD/clang-tidy.passed). Files
that changed against the upstream branch come first; what the time budget leaves unchecked is counted and said, so that
continuous integration on two cores ends in time.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def fingerprint(path, settings):
    """A hash over the file, the project headers that it reaches and the settings."""
    seen, queue, digest = set(), [path], hashlib.sha256(settings)
    while queue:
        current = queue.pop()
        if current in seen or not current.is_file():
            continue
        seen.add(current)
        text = current.read_text(errors="replace")
        digest.update(text.encode())
        for name in sorted(INCLUDE.findall(text)):
            queue += [ROOT / "src" / name, current.parent / name]
    return digest.hexdigest()


def changed_files():
    """Files that differ from the upstream branch; empty where there is none."""
    for base in ("@{upstream}", "origin/main"):
        result = subprocess.run(
            ["git", "diff", "--name-only", f"{base}..."], cwd=ROOT, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            return {ROOT / name for name in result.stdout.splitlines()}
    return set()


def sources(build):
    commands = json.loads((build / "compile_commands.json").read_text())
    files = {pathlib.Path(command["directory"], command["file"]).resolve() for command in commands}
    return [f for f in files if f.is_relative_to(ROOT / "src") and f.suffix == ".cc"]


def check(build, path):
    return subprocess.run(
        ["clang-tidy-19", "-p", str(build), "--quiet", "--extra-arg=-Wno-unknown-warning-option", str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--budget", type=float, default=360)
    options = parser.parse_args()
    record = options.build / "clang-tidy.passed"
    passed = set(record.read_text().split()) if record.exists() else set()
    settings = (ROOT / ".clang-tidy").read_bytes()
    prints = {path: fingerprint(path, settings) for path in sources(options.build)}
    changed = changed_files()
    todo = sorted((p for p in prints if prints[p] not in passed), key=lambda p: (p not in changed, str(p)))
    end = time.monotonic() + options.budget
    failures = unchecked = 0

    def work(path):
        return None if time.monotonic() > end else check(options.build, path)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, result in zip(todo, pool.map(work, todo)):
            if result is None:
                unchecked += 1
            elif result.returncode == 0:
                passed.add(prints[path])
            else:
                failures += 1
                print(result.stdout or result.stderr, file=sys.stderr)
    record.write_text("\n".join(sorted(passed & set(prints.values()))) + "\n")
    print(f"clang-tidy: {len(prints)} files, {len(todo) - unchecked} checked now, {failures} with findings, "
          f"{unchecked} left out by the time budget")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
