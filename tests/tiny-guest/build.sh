#!/bin/sh
# Makes the tiny guest's root tree: Debian's cloud kernel, busybox, OpenSSH's server, and the scripts of
# files/. Usage: build.sh TREE ARCH
#   TREE   an empty folder; it must be root's, or a user namespace's root
#   ARCH   amd64 or arm64
# It needs mmdebstrap, busybox-static, cpio and readelf; nothing of the guest is run on the host.
set -eu
tree=$1 arch=$2
files=$(cd "$(dirname "$0")" && pwd)/files
case $arch in
    amd64) kernel=linux-image-cloud-amd64 lib=lib/x86_64-linux-gnu ld=lib64/ld-linux-x86-64.so.2 ;;
    arm64) kernel=linux-image-cloud-arm64 lib=lib/aarch64-linux-gnu ld=lib/ld-linux-aarch64.so.1 ;;
    *) echo "build.sh: unknown architecture $arch" >&2; exit 2 ;;
esac
export SOURCE_DATE_EPOCH=1700000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Unpacked, not configured: seconds instead of a minute, and any architecture will do.
mmdebstrap --quiet --variant=extract --architectures="$arch" --skip=check/qemu \
    --include="busybox-static,openssh-server,openssh-client,$kernel" bookworm "$work/root" >&2
root=$work/root

mkdir -p "$tree"; cd "$tree"
mkdir -p bin sbin etc/ssh dev proc sys run tmp root var/log var/tmp var/lib/cloud/data var/lib/dhcp srv opt \
    boot lib lib64 usr/bin usr/sbin usr/lib usr/share/udhcpc var/empty "usr/lib/systemd/system-shutdown" home
chmod 1777 tmp var/tmp; chmod 700 root
cp "$root/bin/busybox" bin/busybox
for applet in $(busybox --list); do
    case $applet in busybox | init | linuxrc | ssl_client) ;; *) ln -sf /bin/busybox "bin/$applet" ;; esac
done
ln -sf /bin/busybox sbin/init
ln -sf ../../bin/env usr/bin/env

# OpenSSH and the libraries that it names, and that those name.
need() {
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | while read -r name; do
        [ ! -e "$tree/$lib/$name" ] || continue
        for dir in "$lib" "usr/$lib"; do
            if [ -e "$root/$dir/$name" ]; then
                mkdir -p "$tree/$lib"; cp -L "$root/$dir/$name" "$tree/$lib/$name"; need "$tree/$lib/$name"; break
            fi
        done
    done
}
for program in usr/sbin/sshd usr/bin/ssh-keygen; do
    cp "$root/$program" "$program"; need "$tree/$program"
done
cp -L "$root/$ld" "$ld"
for name in libnss_files.so.2 libgcc_s.so.1; do
    [ ! -e "$root/$lib/$name" ] || cp -L "$root/$lib/$name" "$lib/$name"
done

# The kernel, its modules that a virtual machine needs, and an initramfs that mounts the root.
version=$(basename "$root"/lib/modules/*)
cp "$root/boot/vmlinuz-$version" "boot/vmlinuz-$version"
initramfs=$work/initramfs
mkdir -p "$initramfs/bin" "$initramfs/modules" "$initramfs/root" "$initramfs/dev" "$initramfs/proc" "$initramfs/sys"
cp "$root/bin/busybox" "$initramfs/bin/busybox"
module() { # NAME FOLDER: copies a module, if the kernel has not built it in, and notes its order
    file=$(find "$root/lib/modules/$version/kernel" -name "$1.ko" | head -n 1)
    [ -n "$file" ] || return 0
    mkdir -p "$2"; cp "$file" "$2/$1.ko"; echo "$1" >> "$2/order"
}
for name in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 mbcache jbd2 \
    crc32c_generic crc32c-intel ext4; do
    module "$name" "$initramfs/modules"
done
for name in failover net_failover virtio_net rng-core virtio-rng nls_cp437 nls_ascii nls_iso8859-1 nls_utf8 fat vfat cdrom isofs \
    qemu_fw_cfg; do
    module "$name" "lib/modules/guest"
done
install -m 755 "$files/initramfs-init" "$initramfs/init"
find "$initramfs" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$initramfs" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0 | gzip -n -6) > "boot/initrd.img-$version"

install -m 755 "$files/rc" etc/rc
install -m 755 "$files/rc.shutdown" etc/rc.shutdown
install -m 755 "$files/udhcpc" usr/share/udhcpc/default.script
install -m 755 "$files/cloud-init" usr/bin/cloud-init
cat > etc/inittab <<'INIT'
::sysinit:/etc/rc
::shutdown:/etc/rc.shutdown
console::respawn:/bin/getty -L 115200 console
INIT
cat > etc/ssh/sshd_config <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
CONF
printf 'root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/bin/false\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' > etc/passwd
printf 'root:*:19000:0:99999:7:::\nsshd:!:19000::::::\nnobody:*:19000::::::\n' > etc/shadow
chmod 600 etc/shadow
printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group
printf 'PRETTY_NAME="Tiny guest"\nID=tiny\nVERSION_ID=1\n' > etc/os-release
printf '/bin/sh\n' > etc/shells
echo localhost > etc/hostname
printf '127.0.0.1 localhost\n' > etc/hosts
: > etc/machine-id
find . -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
