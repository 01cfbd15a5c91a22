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

# Debian's start of iscsid makes a name where the file asks for one; others make one where there is no file.
op_iscsi_initiator() {
    _file="$R/etc/iscsi/initiatorname.iscsi"
    [ -f "$_file" ] || return 0
    if [ -f "$R/lib/open-iscsi/startup-checks.sh" ] || [ -f "$R/usr/lib/open-iscsi/startup-checks.sh" ]; then
        rewrite "$_file" "$(cat "$_file")" GenerateName=yes
    else
        drop "$_file"
    fi
}

# Without them nvme-cli derives both from the machine's own UUID.
op_nvme_host() {
    drop "$R/etc/nvme/hostnqn" "$R/etc/nvme/hostid"
}

# The package ssl-cert makes it when it is installed. Services that have it in their settings must find one
# before they start.
op_default_certificate() {
    _key="$R/etc/ssl/private/ssl-cert-snakeoil.key"
    [ -f "$_key" ] || return 0
    drop "$_key" "$R/etc/ssl/certs/ssl-cert-snakeoil.pem"
    find "$R/etc/ssl/certs/" -xdev -type l ! -exec test -e {} \; -exec ls -ldn {} \; -exec rm -f {} \;
    [ -x "$R/usr/sbin/make-ssl-cert" ] && [ -d "$R/etc/systemd/system" ] || return 0
    _unit=ssl-cert-default.service
    cat >"$R/etc/systemd/system/$_unit" <<'UNIT'
[Unit]
Description=A self-signed certificate, where there is none
DefaultDependencies=no
Conflicts=shutdown.target
After=local-fs.target systemd-random-seed.service
Before=sysinit.target shutdown.target
ConditionPathExists=!/etc/ssl/private/ssl-cert-snakeoil.key

[Service]
Type=oneshot
ExecStart=/usr/sbin/make-ssl-cert generate-default-snakeoil

[Install]
WantedBy=sysinit.target
UNIT
    mkdir -p -m 755 "$R/etc/systemd/system/sysinit.target.wants"
    ln -sf "../$_unit" "$R/etc/systemd/system/sysinit.target.wants/$_unit"
    chmod 644 "$R/etc/systemd/system/$_unit"
}

# An agent's, not a server's: its certificate authority stays, which before Puppet 6 is in the same folder, and so do
# keys of a Salt master. So do keys of a server that the agent shall trust.
op_agent_keys() {
    for _path in "$R"/etc/puppetlabs/puppet/ssl/* "$R"/etc/puppet/ssl/* "$R"/var/lib/puppet/ssl/*; do
        case $_path in */ssl/ca) ;; *) drop "$_path" ;; esac
    done
    drop "$R/etc/salt/pki/minion/minion.pem" "$R/etc/salt/pki/minion/minion.pub" "$R/etc/salt/minion_id" \
        "$R/etc/salt/pki/proxy/minion.pem" "$R/etc/salt/pki/proxy/minion.pub" "$R/etc/salt/proxy_id" \
        "$R"/etc/salt/pki/proxy/*/minion.pem "$R"/etc/salt/pki/proxy/*/minion.pub \
        "$R"/etc/chef/client.pem "$R"/etc/chef/validation.pem "$R"/etc/cinc/client.pem "$R"/etc/cinc/validation.pem
    drop_in_homes .puppetlabs/etc/puppet/ssl
}

op_wireguard_keys() {
    for _file in "$R"/etc/wireguard/* "$R"/etc/systemd/network/*.netdev; do [ ! -f "$_file" ] || break; done
    [ -f "$_file" ] || return 0
    grep -lsiE '^[[:space:]]*PrivateKey[[:space:]]*=' "$R"/etc/wireguard/*.conf "$R"/etc/systemd/network/*.netdev |
        while IFS= read -r _file; do
            edit "$_file" '/^[[:space:]]*[Pp][Rr][Ii][Vv][Aa][Tt][Ee][Kk][Ee][Yy][[:space:]]*=/d'
        done
    grep -lsE '^[A-Za-z0-9+/]{43}=$' "$R"/etc/wireguard/*key* | while IFS= read -r _file; do
        case $_file in *pub*) ;; *) drop "$_file" ;; esac
    done
}
