# Refreshes package lists. Both notes are in memory: a machine that was restarted refreshes them again.
fresh=/run/imgbake-lists-fresh
pending=/run/imgbake-lists-pending

# Whether the lists were refreshed within the hour, and neither they nor what decides them changed since.
lists_are_fresh() {
    [ -e "$fresh" ] && [ ! -e "$pending" ] || return 1
    set --
    for one in /etc/apt /var/lib/apt/lists /etc/apk/repositories /etc/apk/keys; do
        [ ! -e "$one" ] || set -- "$@" "$one"
    done
    [ $# -gt 0 ] && [ -n "$(find "$fresh" -mmin -60)" ] && [ -z "$(find "$@" -newer "$fresh")" ]
}

# Refreshes the lists of apt or apk. What fails, or is ended, leaves them pending.
refresh_lists() {
    : >"$pending"
    if [ "$1" = apt ]; then refresh_apt; else run apk --wait 600 update; fi
    : >"$fresh"
    rm -f "$pending"
}

# apt's lock of its lists has no time-out of its own.
refresh_apt() {
    delay=1 waited=0
    until try apt-get -q -o APT::Update::Error-Mode=any update; do
        if [ "$waited" -ge 600 ] || ! grep -q 'Could not get lock' "$work/output"; then
            fail "\`apt-get update\` failed: $(last_lines)"
        fi
        sleep "$delay"
        waited=$((waited + delay))
        [ "$delay" -ge 16 ] || delay=$((delay * 2))
    done
    # An apt that does not know that option reports success where it keeps old lists.
    if grep -q '^W: .*index files failed to download' "$work/output"; then
        fail "\`apt-get update\` failed: $(last_lines)"
    fi
}
