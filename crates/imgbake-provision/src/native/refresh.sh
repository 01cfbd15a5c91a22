# Refreshes apt's lists. Their lock has no time-out of its own.
refresh_apt() {
    tries=0
    until try apt-get -q -o APT::Update::Error-Mode=any update; do
        tries=$((tries + 1))
        if [ "$tries" -ge 120 ] || ! grep -q 'Could not get lock' "$work/words"; then
            fail "\`apt-get update\` failed: $(words)"
        fi
        sleep 1
    done
}
