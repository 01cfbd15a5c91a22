#!/bin/sh
# What a machine of a fleet has: the time, its administrators, ssh by keys, and no upgrades by itself: those come with
# the next image.
#   BASELINE_TIME   yes (default): systemd-timesyncd keeps the time; no: another does, such as chrony
#   BASELINE_NTP     time servers, with spaces between; without it the distribution's
#   BASELINE_USERS  administrators, one a line: NAME PUBLIC-KEY; they have sudo without a password
set -eu
needs() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" != installed ] || return 0
    # Lists that are younger than an hour are good.
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -cmin -60)" ] || apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$1"
}

if [ "${BASELINE_TIME:-yes}" = yes ]; then
    needs systemd-timesyncd
    if [ -n "${BASELINE_NTP:-}" ]; then
        install -d -m 0755 /etc/systemd/timesyncd.conf.d
        printf '[Time]\nNTP=%s\n' "$BASELINE_NTP" >/etc/systemd/timesyncd.conf.d/baseline.conf
    fi
    systemctl enable --quiet systemd-timesyncd
fi

[ -z "${BASELINE_USERS:-}" ] || needs sudo
printf '%s\n' "${BASELINE_USERS:-}" | while read -r name key; do
    [ -n "$name" ] || continue
    case $key in
        ssh-* | ecdsa-* | sk-*) ;;
        *) echo "BASELINE_USERS: $name has no public ssh key" >&2; exit 1 ;;
    esac
    id "$name" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$name"
    home=$(getent passwd "$name" | cut -d: -f6)
    install -d -m 0700 -o "$name" -g "$name" "$home/.ssh"
    printf '%s\n' "$key" >"$home/.ssh/authorized_keys"
    chown "$name:$name" "$home/.ssh/authorized_keys"
    chmod 0600 "$home/.ssh/authorized_keys"
    printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$name" >"/etc/sudoers.d/baseline-$name"
    chmod 0440 "/etc/sudoers.d/baseline-$name"
    visudo --check --quiet
done

cat >/etc/ssh/sshd_config.d/10-baseline.conf <<'CONFIG'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
X11Forwarding no
MaxAuthTries 4
CONFIG
sshd -t

echo 'APT::Periodic::Enable "0";' >/etc/apt/apt.conf.d/99-baseline
systemctl disable --quiet --now apt-daily.timer apt-daily-upgrade.timer
