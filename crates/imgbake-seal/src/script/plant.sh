# Right after the first connection: puts canaries where the seal must clean, and reads the identities
# that this machine made for itself. It comes through standard input: no byte of it is on the disk but
# the canaries. Before this come $R and one call of plant_… for each canary.
#
# It prints the lines of identities.sh and
#   resolv<TAB>LINE             a line of the resolv.conf that this boot wrote

plant_file() {
    if [ -d "${1%/*}" ]; then printf '%s\n' "$2" >>"$1"; fi
}

plant_journal() {
    if command -v logger >/dev/null; then printf '%s\n' "$1" | logger -t imgbake; fi
}

# Of some KiB, so that it lies in blocks of its own; on the disk, then deleted: only trimming removes it.
plant_deleted() {
    _line="$1 $1 $1 $1 $1 $1 $1 $1"
    _line="$_line $_line $_line $_line"
    for _ in 1 2 3 4 5 6 7 8 9 10; do printf '%s\n' "$_line"; done >"$R/var/lib/imgbake-deleted"
    sync
    rm -f "$R/var/lib/imgbake-deleted"
}

# A resolv.conf that is younger than the boot was written by it.
report_resolv_conf() {
    [ -f "$R/etc/resolv.conf" ] && [ ! -L "$R/etc/resolv.conf" ] || return 0
    read -r _up _ <"$R/proc/uptime" || return 0
    _young=$(find "$R/etc/resolv.conf" -mmin "-$((${_up%%.*} / 60 + 1))")
    [ -z "$_young" ] || sed 's/^/resolv	/' "$R/etc/resolv.conf"
}
