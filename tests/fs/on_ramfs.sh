#!/bin/sh
# on_ramfs.sh PROGRAM [ARGUMENT...]: runs a test in a fresh ramfs, a file system without extended attributes, as its TMPDIR.
# Status 77 where this user cannot mount one.
set -eu
if [ "${1:-}" = --mounted ]; then
  shift
  mount -t ramfs ramfs /mnt
  chmod 700 /mnt
  TMPDIR=/mnt exec "$@"
fi
for kind in -m -rm; do
  if unshare $kind mount -t ramfs ramfs /mnt 2>/dev/null; then
    exec unshare $kind "$0" --mounted "$@"
  fi
done
echo "cannot mount a ramfs (neither root nor user namespaces): skipped" >&2
exit 77
