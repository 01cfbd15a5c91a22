# What a machine learnt from its network and from cloud-init. $H is the name that the build's seed gave
# the machine, $HR the same for a regular expression; $RESOLV is the resolv.conf that the machine's boot
# wrote, empty where it wrote none.

op_cloud_init() {
    _cloud="$R/var/lib/cloud"
    # Scripts and handlers are put there by people, not by cloud-init.
    drop "$_cloud/instance" "$_cloud/instances" "$_cloud/data" "$_cloud/sem" "$_cloud/seed" \
        "$R"/var/log/cloud-init*.log* "$R/etc/ssh/sshd_config.d/50-cloud-init.conf" \
        "$R/etc/netplan/50-cloud-init.yaml" "$R"/etc/network/interfaces.d/50-cloud-init* \
        "$R"/etc/systemd/network/10-cloud-init-* \
        "$R"/etc/NetworkManager/system-connections/cloud-init-* \
        "$R"/etc/NetworkManager/conf.d/*cloud-init*.conf
    [ ! -d "$R/etc/sysconfig/network-scripts" ] ||
        grep -lsi 'created by cloud-init' "$R"/etc/sysconfig/network-scripts/ifcfg-* |
        while IFS= read -r _file; do drop "$_file"; done
}

op_dhcp_leases() {
    drop "$R"/var/lib/dhcp/*lease* "$R"/var/lib/dhclient/*lease* "$R"/var/lib/dhcp/*duid* \
        "$R"/var/lib/dhcpcd/*.lease* "$R/var/lib/dhcpcd/duid" "$R/var/lib/dhcpcd/secret" \
        "$R/etc/dhcpcd.duid" "$R/etc/dhcpcd.secret" "$R"/var/lib/dhcpcd5/* \
        "$R"/var/lib/NetworkManager/*.lease "$R/var/lib/NetworkManager/secret_key" \
        "$R/var/lib/NetworkManager/seen-bssids" "$R/var/lib/NetworkManager/timestamps" \
        "$R"/var/lib/udhcpc/* "$R"/var/lib/connman/ethernet_*
}

op_udev_net_rules() {
    drop "$R"/etc/udev/rules.d/*persistent-net.rules "$R"/etc/udev/rules.d/*persistent-cd.rules
}

# A name that is not the seed's was set on purpose.
op_hostname() {
    for _file in "$R/etc/hostname" "$R/etc/HOSTNAME" "$R/etc/mailname"; do
        [ -f "$_file" ] || continue
        _old=$(cat "$_file")
        case $_old in "$H" | "$H".*) rewrite "$_file" "$_old" localhost ;; esac
    done
}

op_hosts() {
    edit "$R/etc/hosts" "/[[:space:]]$HR/{
        :next
        s/[[:space:]]\{1,\}$HR\(\.[^[:space:]]*\)\{0,1\}[[:space:]]\{1,\}/ /
        t next
        s/[[:space:]]\{1,\}$HR\(\.[^[:space:]]*\)\{0,1\}\$//
        /^[[:space:]]*[0-9A-Fa-f.:]*[[:space:]]*\$/d
    }"
}

# A link stays; so does a file that is not the one which the boot wrote.
op_resolv_conf() {
    _file="$R/etc/resolv.conf"
    if [ -L "$_file" ] || [ ! -f "$_file" ] || [ -z "$RESOLV" ]; then return 0; fi
    [ "$(cat "$_file")" != "$RESOLV" ] || empty "$_file"
}
