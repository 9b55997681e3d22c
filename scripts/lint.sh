#!/bin/sh
# Every check that is not a test: scripts/lint.sh BUILD. Prints one line for each, and "lint: N passed, N failed" last.
set -u
build=$1
passed=0
failed=0

check() {
  name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    echo "lint: ok      $name"
  else
    failed=$((failed + 1))
    echo "lint: FAILED  $name"
  fi
}

sources() {
  git ls-files '*.cc' '*.h' '*.c'
}

format() {
  # The version is pinned: others lay out some lines differently.
  sources | xargs clang-format-14 --dry-run -Werror
}

check "formatting (clang-format-14)" format
check "dependency direction" python3 tools/check_dependencies.py
check "file sizes" python3 tools/check_file_size.py
check "generated pages" scripts/docs.sh "$build" --check
# clang-tidy is `make tidy`: not all of the sources have been through it yet, so it does not decide what lands.
echo "lint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
