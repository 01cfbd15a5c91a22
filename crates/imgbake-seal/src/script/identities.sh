# Reads what this machine made for itself, so that the captured bytes can be searched for it. Lines:
#   machine-id<TAB>HEX          the machine's id
#   seed<TAB>PATH<TAB>HEX…      a random seed's first 32 bytes
#   hostkey<TAB>PATH<TAB>BODY   an ssh host key's public body
#   private<TAB>PATH<TAB>LINE   a line of the private key
#   agent<TAB>PATH<TAB>LINE     a line of the private key of an agent of configuration management

report_identities() {
    [ ! -s "$R/etc/machine-id" ] || printf 'machine-id\t%s\n' "$(cat "$R/etc/machine-id")"
    for _file in "$R/var/lib/systemd/random-seed" "$R/var/lib/urandom/random-seed" \
        "$R/var/lib/misc/random-seed" "$R/var/lib/random-seed" "$R"/var/lib/seedrng/seed.* \
        "$R/boot/efi/loader/random-seed" "$R/efi/loader/random-seed" "$R/boot/loader/random-seed"; do
        [ -s "$_file" ] || continue
        # 32 bytes, separated.
        printf 'seed\t%s\t' "$_file"
        printf '%s' $(od -An -v -tx1 -N 32 "$_file")
        echo
    done
    for _file in "$R"/etc/ssh/ssh_host_*_key.pub; do
        [ -f "$_file" ] || continue
        read -r _ _body _ <"$_file" && printf 'hostkey\t%s\t%s\n' "${_file%.pub}" "$_body"
        [ ! -f "${_file%.pub}" ] || printf 'private\t%s\t%s\n' "${_file%.pub}" "$(sed -n 5p "${_file%.pub}")"
    done
    # The third line of a key in PEM is the first that no other key has.
    for _file in "$R"/etc/puppetlabs/puppet/ssl/private_keys/*.pem "$R"/etc/puppet/ssl/private_keys/*.pem \
        "$R"/var/lib/puppet/ssl/private_keys/*.pem "$R/etc/salt/pki/minion/minion.pem" "$R/etc/chef/client.pem" \
        "$R/etc/chef/validation.pem" "$R/etc/cinc/client.pem" "$R/etc/cinc/validation.pem"; do
        [ ! -f "$_file" ] || printf 'agent\t%s\t%s\n' "$_file" "$(sed -n 3p "$_file")"
    done
}
