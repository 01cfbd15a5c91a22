#!/bin/sh
# Setup hook of mmdebstrap: $1 is the root, still empty; no package has been fetched.
# Environment: BAKE_SUITE, BAKE_UPDATES (yes or no), BAKE_SOURCES (the build's own, or empty), BAKE_DEFAULTS (a file that
# keeps the distribution's own sources), BAKE_FSTAB.
set -eu
root=$1
list=$root/etc/apt/sources.list

# mmdebstrap copies the host's.
printf 'localhost\n' > "$root/etc/hostname"

[ "$BAKE_UPDATES" = yes ] || sed -i "/ $BAKE_SUITE-/d" "$list"
cp "$list" "$BAKE_DEFAULTS"
[ -z "$BAKE_SOURCES" ] || printf '%s' "$BAKE_SOURCES" > "$list"
printf '%s' "$BAKE_FSTAB" > "$root/etc/fstab"

# A generic initramfs is most of a slow boot. This one knows the disks of the hypervisors and clouds.
mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/initramfs-tools/hooks"
printf 'MODULES=list\nCOMPRESS=lz4\nFSTYPE=ext4\n' > "$root/etc/initramfs-tools/conf.d/image"
cat > "$root/etc/initramfs-tools/hooks/image-disks" <<'HOOK'
#!/bin/sh
# The disk drivers of virtual machines, and of the drives that hold their seeds: cloud-init looks for
# those as soon as the root is there. udev loads what a machine has.
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_mmio virtio_blk virtio_scsi sd_mod sr_mod isofs nvme ahci ata_piix \
    xen_blkfront hv_storvsc vmw_pvscsi mptspi ext4
HOOK
chmod 755 "$root/etc/initramfs-tools/hooks/image-disks"
