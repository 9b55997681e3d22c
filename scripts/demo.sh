#!/bin/sh
# What `make run` shows where there is no terminal: scripts/demo.sh PATH-OF-USL. Exit 0 when all of it worked.
set -eu
usl=$1

show() {
  echo "\$ usl $*"
  "$usl" "$@"
  echo
}

show version
show run -- sh -c 'echo "I am $(id -un) ($(id -u)) on $(uname -n), process $$"; cat /proc/version 2>/dev/null || uname -sr'
show run -- sh -c 'ls -ld /root /etc/passwd; touch /etc/usl-was-here && echo "wrote /etc/usl-was-here, in the copy only"'
[ ! -e /etc/usl-was-here ] || { echo "demo.sh: the host was changed" >&2; exit 1; }
echo "the host has no /etc/usl-was-here: the view was thrown away"
echo "demonstration finished; in a terminal, make run opens a shell"
