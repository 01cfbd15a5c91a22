# What an image has and its packages do not bring. Environment: BAKE_TREE, BAKE_DEFAULTS (the sources that the
# image keeps), BAKE_KEEP_SOURCES (yes or no), BAKE_EPOCH, BAKE_BEGUN (a file as old as the bootstrap).
set -eu
cd "$BAKE_TREE"

[ "$BAKE_KEEP_SOURCES" = yes ] || cp "$BAKE_DEFAULTS" etc/apt/sources.list
printf 'localhost\n' > etc/hostname
printf '127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n' > etc/hosts
resolved=
if [ -e usr/lib/systemd/system/systemd-resolved.service ] || [ -e lib/systemd/system/systemd-resolved.service ]; then
    resolved=systemd-resolved.service
    ln -sf ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf
fi

# Where the package itself says which data sources there are: so that any file of the user's comes later.
mkdir -p etc/cloud/cloud.cfg.d
printf '# by the bootstrap\ndatasource_list: [ NoCloud, ConfigDrive, OpenStack, Ec2, None ]\n' \
    > etc/cloud/cloud.cfg.d/90_dpkg.cfg
# cloud-init renders for networkd; netplan, once it is installed, is preferred.
cat > etc/cloud/cloud.cfg.d/00_image.cfg <<'CFG'
locale: C.UTF-8
apt:
  preserve_sources_list: true
system_info:
  network:
    renderers: [ netplan, networkd, eni ]
CFG
# Where cloud-init finds no data source, it configures nothing: DHCP, then.
mkdir -p etc/systemd/network
cat > etc/systemd/network/99-dhcp.network <<'NET'
[Match]
Type=ether
Name=en* eth*

[Network]
DHCP=yes
NET
# Nor does it make host keys then, and sshd does not start without.
cat > etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=OpenSSH host keys, where there are none
After=cloud-init.service
Before=ssh.service
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=ssh.service
UNIT
rm -f etc/ssh/ssh_host_*
# The host's own, for a user's namespace cannot have new ones.
for node in null zero random urandom; do : >> "dev/$node" && mount --bind "/dev/$node" "dev/$node"; done
chroot . systemctl --quiet enable systemd-networkd.service $resolved ssh-host-keys.service

# The kernel's package made no initramfs (INITRD=No): here it is the same for the same packages.
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SOURCE_DATE_EPOCH="$BAKE_EPOCH" chroot . "$@" >&2; }
if [ -x usr/sbin/update-initramfs ]; then
    inside update-initramfs -c -k all
elif [ -x usr/bin/dracut ]; then
    for modules in usr/lib/modules/*; do
        version=${modules##*/}
        inside dracut --force --quiet --no-hostonly --reproducible --kver "$version" "/boot/initrd.img-$version"
    done
else
    echo 'no package makes an initramfs: initramfs-tools or dracut must be there' >&2
    exit 1
fi
for kernel in vmlinuz vmlinuz.old boot/vmlinuz boot/vmlinuz.old; do
    [ ! -L "$kernel" ] || ln -sf "$(readlink "$kernel" | sed 's/vmlinuz-/initrd.img-/')" \
        "$(printf '%s' "$kernel" | sed 's/vmlinuz/initrd.img/')"
done

umount dev/null dev/zero dev/random dev/urandom

# Identity, and what the bootstrap left. Device nodes are devtmpfs's, which the kernel mounts.
find dev proc sys run -mindepth 1 -delete
rm -f etc/.resolv.conf.systemd-resolved.bak
: > etc/machine-id
rm -f var/lib/dbus/machine-id var/lib/systemd/random-seed var/lib/systemd/credential.secret
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- etc/.pwd.lock
rm -f etc/apt/apt.conf.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/99mmdebstrap
rm -f var/lib/dpkg/*-old var/cache/debconf/*-old var/cache/ldconfig/aux-cache var/cache/apt/*.bin
rm -rf var/lib/apt/lists/* var/cache/apt/archives/*.deb tmp/* tmp/.[!.]* var/tmp/*
find var/log -type f -delete
# The day of a password that nobody has.
sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\1:19000:/' etc/shadow

# Packages' files keep their times, which are the same everywhere and which Python compares; what
# the bootstrap made gets one time.
find . -newer "$BAKE_BEGUN" -print0 | xargs -0 -r touch -h -d "@$BAKE_EPOCH"
# The caches in /etc and /var are the packages' own: the first boot need not make them again
# (systemd-update-done.service(8)).
touch etc/.updated var/.updated
touch -r usr etc/.updated var/.updated
touch -d "@$BAKE_EPOCH" etc var
