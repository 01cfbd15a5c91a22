# Makes a root's tree and its ext4 in one mount namespace, so that nothing is left of it after a kill.
# Arguments: mmdebstrap's. Environment: BAKE_ROOT (an empty folder), BAKE_TMPFS (yes or no), and what
# setup.sh, configure.sh and disk.sh ask for.
set -eu
# Packages' scripts must not see this host: its umask, its name (and its environment: root.rs).
umask 022
hostname localhost
[ "$BAKE_TMPFS" = no ] || mount -t tmpfs -o mode=0755,size=90% imgbake "$BAKE_ROOT"
mkdir -p "$BAKE_ROOT/tmp"
touch "$BAKE_ROOT/begun"
TMPDIR=$BAKE_ROOT/tmp mmdebstrap "$@" "$BAKE_ROOT/tree" >&2
