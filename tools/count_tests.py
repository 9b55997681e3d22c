#!/usr/bin/env python3
"""Prints "tests: N passed, N failed[, N skipped]" of a JUnit file that ctest wrote."""
import sys
import xml.etree.ElementTree as ElementTree


def main():
    suite = ElementTree.parse(sys.argv[1]).getroot()
    total = int(suite.get("tests", "0"))
    failed = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
    skipped = int(suite.get("skipped", "0")) + int(suite.get("disabled", "0"))
    line = f"tests: {total - failed - skipped} passed, {failed} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))


if __name__ == "__main__":
    main()
