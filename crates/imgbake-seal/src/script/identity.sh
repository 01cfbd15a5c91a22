# What makes a machine this machine and no other.

# Empty, never missing: systemd takes a missing or `uninitialized` one for a first boot at which
# systemd-firstboot may ask at the console (machine-id(5), "First Boot Semantics").
op_machine_id() {
    if [ -e "$R/etc/machine-id" ]; then
        empty "$R/etc/machine-id"
    else
        printf '' >"$R/etc/machine-id" && chmod 444 "$R/etc/machine-id"
    fi
}

# D-Bus makes a new one, or the link to /etc/machine-id, when it starts.
op_dbus_id() {
    [ -L "$R/var/lib/dbus/machine-id" ] || drop "$R/var/lib/dbus/machine-id"
}

op_ssh_host_keys() {
    drop "$R"/etc/ssh/ssh_host_* "$R"/etc/dropbear/dropbear_*_host_key
}

op_random_seed() {
    drop "$R/var/lib/systemd/random-seed" "$R/var/lib/urandom/random-seed" \
        "$R/var/lib/misc/random-seed" "$R/var/lib/random-seed" "$R"/var/lib/seedrng/seed.* \
        "$R/boot/efi/loader/random-seed" "$R/efi/loader/random-seed" "$R/boot/loader/random-seed"
}

op_credential_secret() {
    drop "$R/var/lib/systemd/credential.secret"
}

op_timesync_clock() {
    drop "$R/var/lib/systemd/timesync/clock" "$R/var/lib/private/systemd/timesync/clock"
}
