#!/bin/sh
# build.sh DIR [ARCH]: makes DIR/tree, the root of the tiny guest, from Debian's packages: cloud kernel,
# busybox, OpenSSH, sudo, and this folder's root/. ARCH is x86_64 (default) or aarch64; no program of
# ARCH runs here; for aarch64 DIR/grub has its GRUB. Needs mmdebstrap, cpio, busybox, readelf.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
suite=bookworm
epoch=1735689600
case ${2:-x86_64} in
    x86_64) deb=amd64 triplet=x86_64-linux-gnu loader=lib64/ld-linux-x86-64.so.2 grub= ;;
    aarch64) deb=arm64 triplet=aarch64-linux-gnu loader=lib/ld-linux-aarch64.so.1 grub=,grub-efi-arm64-bin ;;
    *) echo "unknown architecture: $2" >&2 && exit 2 ;;
esac
pool=$dir/pool
tree=$dir/tree
rm -rf "$pool" "$tree" "$dir/depmod" "$dir/grub"
mkdir -p "$pool" "$tree"

# Packages, unpacked and not configured; of these, what the guest needs is picked below.
mode=root
[ "$(id -u)" = 0 ] || mode=unshare
mmdebstrap --quiet --mode="$mode" --variant=extract --architectures="$deb" --components=main \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --skip=check/signed-by \
    --include="linux-image-cloud-$deb,openssh-server,sudo,busybox-static,passwd,perl-base,libnss-myhostname$grub" "$suite" - |
    tar -x -C "$pool" --no-same-owner --exclude='./usr/share' --exclude='./var' --exclude='./dev'

# For another architecture than the host's, its GRUB.
[ -z "$grub" ] || mv "$pool/usr/lib/grub" "$dir/grub"

# One name for each folder, as in Debian's merged /usr.
mkdir -p "$tree/usr/bin" "$tree/usr/sbin" "$tree/usr/lib/$triplet" "$tree/usr/lib64" "$tree/boot"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$tree/$folder"; done
for folder in dev proc sys run tmp root home mnt var/log var/tmp var/lib/systemd var/lib/cloud var/empty \
    etc/ssh etc/sudoers.d etc/pam.d usr/lib/systemd/system-shutdown; do
    mkdir -p "$tree/$folder"
done
chmod 700 "$tree/root"
chmod 1777 "$tree/tmp" "$tree/var/tmp"

# in_pool PATH: the file in the pool, whether or not /usr is merged there.
in_pool() {
    for found in "$pool/usr/$1" "$pool/$1"; do
        if [ -f "$found" ]; then printf '%s' "$found" && return; fi
    done
    echo "no package brought $1" >&2
    return 1
}

# pick PATH...: copies files and each library that they name, and that those name.
pick() {
    for path in "$@"; do
        from=$(in_pool "$path") || exit 1
        if [ -e "$tree/usr/$path" ]; then continue; fi
        mkdir -p "$(dirname "$tree/usr/$path")"
        cp -L "$from" "$tree/usr/$path"
        readelf -d "$from" 2> /dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' >> "$dir/libraries"
    done
}
: > "$dir/libraries"
pick "$loader" sbin/sshd bin/ssh-keygen lib/openssh/sftp-server bin/sudo libexec/sudo/sudoers.so bin/perl \
    sbin/useradd sbin/userdel sbin/usermod "lib/$triplet/security/pam_permit.so" \
    "lib/$triplet/libnss_myhostname.so.2" bin/busybox
for _ in 1 2 3 4 5 6; do
    sort -u "$dir/libraries" > "$dir/round"
    while read -r name; do
        case $name in
            ld-linux*) ;;
            libsudo_util*) pick "libexec/sudo/$name" ;;
            *) pick "lib/$triplet/$name" ;;
        esac
    done < "$dir/round"
done
rm -f "$dir/libraries" "$dir/round"
# The host's busybox knows the same applets as the guest's, which may not run here.
busybox --list | while read -r applet; do
    for folder in bin sbin; do [ ! -e "$tree/usr/$folder/$applet" ] || continue 2; done
    case $applet in
        busybox | dpkg | dpkg-deb | rpm | rpm2cpio) ;;
        *) ln -s busybox "$tree/usr/bin/$applet" ;;
    esac
done
chmod 4755 "$tree/usr/bin/sudo"

cp -R "$here/root/." "$tree/"
chmod 755 "$tree/etc/init.d/"* "$tree/usr/bin/cloud-init" \
    "$tree/usr/share/udhcpc/default.script"
ln -s ../bin/busybox "$tree/usr/sbin/init"
chmod 440 "$tree/etc/sudoers"
chmod 640 "$tree/etc/shadow"
: > "$tree/etc/machine-id"

# The kernel, and an initramfs that loads the few modules there are and mounts the root.
kernel=$(basename "$pool"/boot/vmlinuz-*)
version=${kernel#vmlinuz-}
cp "$pool/boot/$kernel" "$tree/boot/vmlinuz"
modules=$(find "$pool" -type d -path "*/modules/$version" | head -n 1)
initramfs=$dir/initramfs
rm -rf "$initramfs"
mkdir -p "$initramfs/bin" "$initramfs/modules" "$initramfs/dev" "$initramfs/proc" "$initramfs/sys" "$initramfs/root"
cp "$tree/usr/bin/busybox" "$initramfs/bin/"
cp "$here/initramfs-init" "$initramfs/init"
chmod 755 "$initramfs/init"

# module NAME: copies it after all that it needs, in the order in which they load.
module() {
    [ ! -e "$initramfs/modules/$1.ko" ] || return 0
    line=$(grep "/$1\.ko:" "$modules/modules.dep") || return 0 # it is in the kernel
    for needed in ${line#*:}; do
        (module "$(basename "$needed" .ko)")
    done
    cp "$modules/${line%%:*}" "$initramfs/modules/"
    echo "$1.ko" >> "$initramfs/modules/order"
}
# The package has no modules.dep: its postinst makes it.
mkdir -p "$dir/depmod/lib/modules"
mv "$modules" "$dir/depmod/lib/modules/"
modules=$dir/depmod/lib/modules/$version
busybox depmod -b "$dir/depmod" "$version"
for name in virtio_pci virtio_blk virtio_scsi sd_mod ext4 virtio_net af_packet virtio_rng vfat nls_cp437 nls_ascii \
    nls_iso8859-1 isofs button evdev; do
    module "$name"
done
find "$initramfs" -exec touch -h -d "@$epoch" {} +
(cd "$initramfs" && find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -o -H newc) > "$tree/boot/initrd.img"

find "$tree" -exec touch -h -d "@$epoch" {} +
rm -rf "$pool" "$initramfs" "$dir/depmod"
