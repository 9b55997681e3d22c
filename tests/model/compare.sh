#!/bin/sh
# compare.sh PLACE BINARY [COUNT [SEED]]: the same random operations natively, as root in a scratch directory, and inside as an
# ordinary user; both must print the same. PLACE: `view` (the copy-on-write view of the host), `lower` (the same, on files of the
# lower layer), `tree` (a kept tree) or `tmpfs` (compared with the host's /dev/shm). USL_SEED chooses a seed too; it is printed, to run it again.
# USL_MODEL_KEEP is a directory that both outputs are copied to.
set -eu
place=$1
binary=$2
count=${3:-5000}
seed=${4:-${USL_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}}
if [ "$(id -u)" != 0 ]; then
  echo "skipped: the native run needs root" >&2
  exit 77
fi
echo "place $place, $count operations, USL_SEED=$seed"
HOME=$(mktemp -d /var/tmp/usl-model-XXXXXX)
export HOME
unset XDG_DATA_HOME XDG_RUNTIME_DIR
native=
trap '[ -z "${USL_MODEL_KEEP-}" ] || cp "$HOME/native" "$HOME/inside" "$USL_MODEL_KEEP"; rm -rf "$HOME" ${native:+"$native"}' EXIT
chown 1000:1000 "$HOME"
user="setpriv --reuid 1000 --regid 1000 --clear-groups"
# Both directories have names of one length, as some results tell it.
name=$(basename "$HOME")
options=
more=
case $place in
  view)
    native=/var/tmp/scratch-$name
    inside=$native
    # Whiteouts belong to the layers there.
    more=--no-whiteouts
    ;;
  lower)
    native=/srv/scratch-$name
    inside=$native
    more="--no-whiteouts --prepared"
    "$binary" "$native" "$seed" "$count" --prepare
    cp -a "$native" "$HOME/prepared"
    ;;
  tree)
    native=/var/tmp/scratch-$name
    inside=$native
    $user mkdir -p "$HOME/tree/dev" "$HOME/tree/proc" "$HOME/tree/sys" "$HOME/tree/run" "$HOME/tree/root" "$HOME/tree/etc" \
      "$HOME/tree/tmp" "$HOME/tree/var/tmp"
    options="--rootfs $HOME/tree"
    ;;
  tmpfs)
    native=/dev/shm/scratch-$name
    inside=/tmp/dir-scratch-$name
    # /tmp is mounted nodev there, and whiteouts are devices.
    more="--no-devices --no-whiteouts"
    ;;
  *) echo "unknown place: $place" >&2; exit 2 ;;
esac
# The guest takes the machine's fs.protected_*.
protection=
for setting in symlinks hardlinks fifos regular; do
  protection=${protection:+$protection,}$(cat /proc/sys/fs/protected_$setting)
done
cd /
"$binary" "$native" "$seed" "$count" $more > "$HOME/native" || { echo "the native run failed: status $?"; exit 1; }
if [ "$place" = lower ]; then mv "$HOME/prepared" "$native"; fi
"$USL_ORDINARY_USER" 1000:1000 "$USL_EXECUTABLE" run $options -v "$(dirname "$binary"):/model:ro" -- \
  "/model/$(basename "$binary")" "$inside" "$seed" "$count" $more --protection "$protection" > "$HOME/inside" || {
  echo "the run inside failed: status $?; its last lines:"
  tail -3 "$HOME/inside" | cut -c1-400
  exit 1
}
# The directories' own names show in the texts of links.
sed -i "s#$native#DIRECTORY#g" "$HOME/native"
sed -i "s#$inside#DIRECTORY#g" "$HOME/inside"
if ! diff "$HOME/native" "$HOME/inside" > "$HOME/differences"; then
  echo "differences (native <, inside >):"
  head -40 "$HOME/differences" | cut -c1-400
  exit 1
fi
echo "the same, $(grep -c ' = [0-9]' "$HOME/native") of them succeeded"
