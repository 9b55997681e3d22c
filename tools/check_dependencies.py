#!/usr/bin/env python3
"""Checks that #include directions between the folders of src/ follow the order of src/CMakeLists.txt.

A folder may include those that stand before it there, and itself. Some are narrower: see NARROW.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
# Guest-side code is built static or freestanding and must not drag the kernel in.
NARROW = {
    "init": {"base", "abi", "protocol", "init"},
    "interop": {"base", "abi", "protocol", "interop"},
    "platform/loader": {"abi", "protocol", "platform/loader"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def folder_order():
    text = (SOURCE / "CMakeLists.txt").read_text()
    return re.findall(r"^add_subdirectory\((\w+)\)", text, re.MULTILINE)


def violations(path, order):
    relative = path.relative_to(SOURCE).as_posix()
    folder = relative.split("/")[0]
    narrow = next((allowed for prefix, allowed in NARROW.items() if relative.startswith(prefix + "/")), None)
    for included in INCLUDE.findall(path.read_text(errors="replace")):
        target = included.split("/")[0]
        if "/" not in included:
            if not (path.parent / included).exists():
                yield f"{relative}: \"{included}\" must be written with its folder"
        elif narrow is not None:
            if not any(included.startswith(allowed + "/") for allowed in narrow):
                yield f"{relative}: includes \"{included}\"; allowed are only {', '.join(sorted(narrow))}"
        elif target not in order:
            if not included.startswith("generated/") and (SOURCE / target).is_dir():
                yield f"{relative}: folder {target} is missing in src/CMakeLists.txt"
        elif folder in order and order.index(target) > order.index(folder):
            yield f"{relative}: includes \"{included}\", but {target} stands above {folder}"


def main():
    order = folder_order()
    found = [
        line
        for path in sorted(SOURCE.rglob("*"))
        if path.suffix in {".h", ".cc", ".c", ".S"}
        for line in violations(path, order)
    ]
    for line in found:
        print(f"check_dependencies: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
