#!/bin/sh
# run_inside.sh PLACE BINARY: runs a conformance binary inside, as an ordinary user without user namespaces, in the
# copy-on-write view of the host. PLACE `inside` works on VolFs, `tmpfs` on tmpfs, `drvfs` on a volume with metadata, `tree`
# in a tree of its own that is kept. Tests of known_failures.txt are left out.
set -eu
place=$1
binary=$2
family=$(basename "$binary" | sed 's/^conformance_//')
directory=$(dirname "$binary")
case $place in
  inside | tree) work=/var/tmp ;;
  tmpfs) work=/tmp ;;
  drvfs) work=/drvfs ;;
  *) echo "unknown place: $place" >&2; exit 2 ;;
esac
known=$(awk -v place="$place" -v family="$family" \
  '$1 !~ /^#/ && ($1 == place || $1 == "any") && $2 == family { printf "%s%s", separator, $3; separator = ":" }' \
  "$(dirname "$0")/known_failures.txt")
# A home of the user's own for the changed files.
HOME=$(mktemp -d /var/tmp/usl-conformance-XXXXXX)
export HOME
unset XDG_DATA_HOME XDG_RUNTIME_DIR
trap 'rm -rf "$HOME"' EXIT
mkdir "$HOME/share"
if [ "$(id -u)" = 0 ]; then
  chown 1000:1000 "$HOME" "$HOME/share"
  set -- "$USL_ORDINARY_USER" 1000:1000
else
  set -- "$USL_ORDINARY_USER"
fi
if [ "$place" = tree ]; then
  # The binary is static: the tree needs directories only.
  for each in dev proc sys run root etc tmp var/tmp; do "$@" mkdir -p "$HOME/tree/$each"; done
  options="--rootfs $HOME/tree"
fi
"$@" "$USL_EXECUTABLE" run ${options-} -e "USL_CONFORMANCE_DIR=$work" -v "$directory:/conformance:ro" \
  -v "$HOME/share:/drvfs:metadata" -- \
  "/conformance/$(basename "$binary")" "--gtest_filter=*${known:+-$known}"
