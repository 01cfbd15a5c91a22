# Run by cloud-init in a machine that imgbake boots. Where sshd lets root in nowhere, or a firewall may shut its
# port, one of its own listens on a port of the machine's that no network leads to. All of it is in /run.
port=/dev/virtio-ports/@PORT@
if [ -e "$port" ] && [ -d /run/systemd/system ] && {
    grep -Eiqs '^[[:space:]]*(PermitRootLogin[[:space:]=]+"?no|AllowUsers|AllowGroups|DenyUsers|DenyGroups|AuthenticationMethods)' \
        /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf ||
    ls /etc/systemd/system/*.wants/nftables.service /etc/systemd/system/*.wants/firewalld.service \
        /etc/systemd/system/*.wants/ufw.service >/dev/null 2>&1
}; then
    sshd=$(command -v sshd || echo /usr/sbin/sshd)
    umask 077
    mkdir -p /run/imgbake
    mkdir -p -m 755 /run/sshd
    printf '%s' '@HOST_KEY@' >/run/imgbake/host_key
    echo '@USER_KEY@' >/run/imgbake/authorized_keys
    cat >/run/imgbake/sshd_config <<'CONFIG'
HostKey /run/imgbake/host_key
AuthorizedKeysFile /run/imgbake/authorized_keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM yes
LoginGraceTime 0
PidFile none
CONFIG
    # auditd looks the other side up in the DNS, which knows no serial port: a network without one is not waited for.
    systemd-run --quiet --no-block --unit=imgbake-login -E 'RES_OPTIONS=timeout:1 attempts:1' -p Restart=always -p RestartSec=3 -p StartLimitIntervalSec=0 \
        /bin/sh -c "exec $sshd -i -f /run/imgbake/sshd_config <>$port >&0 2>/dev/null"
fi
