#!/bin/bash
# Makes a Debian root file system for the tests and prints its directory: make_rootfs.sh [UID:GID]
#
# The tree is what an ordinary user has who unpacked a root file system's archive: everything is his, device nodes are left
# out. The archive is made once by mmdebstrap from this machine's own package sources and kept in the cache directory; the
# unpacked tree is made anew where it is missing. Where the sources cannot be reached: exit 3, and the tests use the host's
# root as the lower layer instead.
set -eu
owner=${1:-$(id -u):$(id -g)}
uid=${owner%%:*}
cache=${USL_TEST_CACHE:-/var/tmp/usl-test-cache-$(id -u)}
packages=bash,coreutils,findutils,grep,sed,gawk,perl-base,python3,gcc,libc6-dev,make,git,procps,less,file,ca-certificates,busybox-static,xz-utils,zstd,attr,acl,libcap2-bin,sudo,nodejs,strace,gdb,util-linux,iproute2,curl,netcat-openbsd
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
key=$(printf '%s %s v1' "$suite" "$packages" | sha256sum | cut -c1-12)
archive=$cache/debian-$suite-$key.tar
tree=$cache/tree-$uid-$key

mkdir -p -m 0755 "$cache"
exec 9>"$cache/lock"
flock 9

if [ ! -s "$archive" ]; then
  rm -f "$archive".*
  # An ordinary user is root in USL.
  usl=${USL_EXECUTABLE:-$(dirname "$0")/../../build/release/usl}
  if [ "$(id -u)" -eq 0 ]; then
    bootstrap="mmdebstrap --mode=root"
  elif [ -x "$usl" ]; then
    bootstrap="$usl run -w / -e TMPDIR=/var/tmp -e http_proxy -e https_proxy -e no_proxy -- /usr/bin/mmdebstrap --mode=root"
  else
    bootstrap="mmdebstrap --mode=auto"
  fi
  # shellcheck disable=SC2086  # a list of words
  if ! $bootstrap --quiet --format=tar --variant=minbase --include="$packages" \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" - >"$archive.new.tar"; then
    echo "make_rootfs.sh: cannot bootstrap $suite from this machine's package sources" >&2
    rm -f "$archive.new.tar"
    exit 3
  fi
  mv "$archive.new.tar" "$archive"
fi

if [ ! -e "$cache/complete-$uid-$key" ]; then
  rm -rf "$tree"
  mkdir -p "$tree"
  # Unpacked by the owner himself: a chown by root would clear the set-id bits.
  as_owner=
  if [ "$(id -u)" -eq 0 ] && [ "$uid" -ne 0 ]; then
    chown "$owner" "$tree"
    as_owner="setpriv --reuid $uid --regid ${owner##*:} --clear-groups"
  fi
  $as_owner tar -C "$tree" --no-same-owner -xpf - --exclude='./dev/*' < "$archive"
  # The guest's package tools use the machine's own sources.
  cp /etc/apt/sources.list "$tree/etc/apt/" 2>/dev/null || true
  cp -r /etc/apt/sources.list.d/. "$tree/etc/apt/sources.list.d/" 2>/dev/null || true
  cp -rn /usr/share/keyrings/. "$tree/usr/share/keyrings/" 2>/dev/null || true
  cp -r /etc/apt/apt.conf.d/. "$tree/etc/apt/apt.conf.d/" 2>/dev/null || true
  if [ "$(id -u)" -eq 0 ]; then chown -R --no-dereference "$owner" "$tree/etc/apt" "$tree/usr/share/keyrings"; fi
  touch "$cache/complete-$uid-$key"
fi
echo "$tree"
