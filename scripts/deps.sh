#!/bin/sh
# Installs the Debian packages that a group of targets needs and that are missing:
#   scripts/deps.sh [build] [test] [lint] [bench]
# Works without a network and without root when nothing is missing. USL_NO_INSTALL=1 only says what is missing.
set -eu

build="build-essential g++ cmake ninja-build ccache libfmt-dev nettle-dev nlohmann-json3-dev libcurl4-openssl-dev libarchive-dev zlib1g-dev libbz2-dev liblzma-dev libzstd-dev libutf8proc-dev libcli11-dev libtomlplusplus-dev libgtest-dev libgmock-dev libbenchmark-dev python3"
test="mmdebstrap busybox-static golang-go git musl-tools openssh-client curl keyutils qemu-user-static skopeo umoci docker-registry"
lint="clang-format-14 clang-tidy-19"
bench="proot runsc mmdebstrap fio"

packages=
for group in "${@:-build}"; do
  case $group in
    build) packages="$packages $build" ;;
    test) packages="$packages $test" ;;
    lint) packages="$packages $lint" ;;
    bench) packages="$packages $bench" ;;
    *) echo "deps.sh: unknown group \"$group\"; there are build, test, lint, bench" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null; then
  # Not Debian: the compiler run tells what lacks; here only the tools without which nothing starts.
  for tool in g++ cmake ninja python3; do
    command -v "$tool" >/dev/null || { echo "deps.sh: $tool is missing; this is not a Debian, install:$packages" >&2; exit 1; }
  done
  exit 0
fi

missing=
for package in $packages; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

fail() {
  echo "deps.sh: missing packages:$missing" >&2
  echo "deps.sh: $1; install them with: sudo apt-get install$missing" >&2
  exit 1
}
[ -z "${USL_NO_INSTALL:-}" ] || fail "USL_NO_INSTALL is set"
if [ "$(id -u)" -eq 0 ]; then
  as_root=
elif command -v sudo >/dev/null; then
  as_root=sudo
else
  fail "you are not root and there is no sudo"
fi

echo "deps.sh: installing$missing" >&2
install() {
  # shellcheck disable=SC2086  # lists of words
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >&2
}
# The package lists may be absent or stale: update them once if the first try fails.
install || { $as_root apt-get update >&2 && install; } || fail "apt-get could not install them (is the network there?)"
