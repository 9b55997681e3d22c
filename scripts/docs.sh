#!/bin/sh
# Writes the pages that are made from the program: scripts/docs.sh BUILD [--check]. With --check nothing is written, and
# the exit status tells whether the pages of the tree are up to date.
set -eu
build=$1
mode=${2:-}
status=0

# page FILE COMMAND...: FILE is what COMMAND prints.
page() {
  file=$1
  shift
  if [ ! -x "$1" ]; then
    echo "docs.sh: $1 is not built" >&2
    status=1
    return
  fi
  new=$(mktemp)
  "$@" >"$new"
  if [ "$mode" != --check ]; then
    mkdir -p "$(dirname "$file")"
    cp "$new" "$file"
  elif ! cmp -s "$new" "$file"; then
    echo "docs.sh: $file is out of date; run \`make docs\`" >&2
    status=1
  fi
  rm -f "$new"
}

page docs/compatibility.md "$build/tools/usl_compat"
page docs/man/usl.1 "$build/usl" help --man
exit "$status"
