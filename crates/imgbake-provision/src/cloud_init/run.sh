# Runs all stages of cloud-init once more, on a seed and a state of their own in $DIR, which is in memory. Before this come
# $DIR, which holds `user-data`, `meta-data`, `vendor-data` and `cloud.cfg`, and $YAML, where the user-data is YAML; and `read_yaml`. What
# it prints after $mark: `exit STAGE CODE`, `log LINE` and, at the end, `status JSON`.

cd /
umask 022
program=$(command -v cloud-init)
[ -z "$YAML" ] || read_yaml "$DIR/user-data" "$program"

# What the machine's own run left in /run is put back: links to it are written by a fixed name.
OWN=/run/cloud-init
[ ! -d "$OWN" ] || cp -a "$OWN" "$DIR/own"
put_back() {
    [ ! -d "$OWN" ] || rm -rf "$OWN"
    [ ! -d "$DIR/own" ] || mv "$DIR/own" "$OWN"
}
trap put_back EXIT
trap 'exit 143' HUP INT TERM

seed="$DIR/cloud/seed/nocloud"
mkdir -p "$seed"
mv "$DIR/user-data" "$DIR/meta-data" "$DIR/vendor-data" "$seed/"
# cloud-init reads this file beside its own, and before what user-data says (settings.py, CFG_ENV_NAME).
export CLOUD_CFG="$DIR/cloud.cfg"
log="$DIR/log"
: >"$log"

stage() {
    _stage=$1
    shift
    _code=0
    cloud-init "$@" || _code=$?
    printf '%sexit %s %s\n' "$mark" "$_stage" "$_code"
    sed "s/^/${mark}log /" "$log"
    : >"$log"
}
stage init-local init --local
stage init init
stage modules-config modules --mode config
stage modules-final modules --mode final

# Scripts for each boot of the image are part of it.
for kind in per-boot per-instance per-once; do
    for file in "$DIR/cloud/scripts/$kind"/*; do
        [ -f "$file" ] || continue
        mkdir -p "/var/lib/cloud/scripts/$kind"
        cp -p "$file" "/var/lib/cloud/scripts/$kind/"
    done
done
printf '%sstatus %s\n' "$mark" "$(tr '\n' ' ' <"$DIR/cloud/data/status.json")"
