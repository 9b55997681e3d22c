#!/bin/sh
# Runs the tests of a build directory: scripts/test.sh BUILD [ctest options]. The result is left as JUnit in
# BUILD/ctest.xml, and "tests: N passed, N failed" is the last line.
set -eu
build=$1
shift
status=0
ctest --test-dir "$build" -j "$(nproc)" --output-on-failure --output-junit ctest.xml "$@" || status=$?
python3 tools/count_tests.py "$build/ctest.xml"
exit "$status"
