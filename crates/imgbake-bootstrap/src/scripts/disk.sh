# Makes an ext4 from a tree at its place on a disk. Environment: BAKE_TREE, BAKE_DISK (an empty file), BAKE_OFFSET
# (bytes before the root), BAKE_TAIL (bytes behind it), BAKE_SIZE (the disk's in bytes; 0: what the tree needs),
# BAKE_FS_UUID, BAKE_EPOCH, MKE2FS_CONFIG, BAKE_GRUB_CFG, BAKE_KERNELS (a folder for the kernel and its initramfs).
set -eu

# The names that stay when a newer kernel comes: Debian's and Ubuntu's links, or plain files.
kernel=
for file in vmlinuz boot/vmlinuz; do
    if [ -z "$kernel" ] && [ -e "$BAKE_TREE/$file" ]; then kernel=$file; fi
done
[ -n "$kernel" ] || { echo "no kernel: neither /vmlinuz nor /boot/vmlinuz is in the root" >&2; exit 1; }
initrd=$(printf '%s' "$kernel" | sed 's/vmlinuz/initrd.img/')
[ -e "$BAKE_TREE/$initrd" ] || { echo "no initramfs: /$initrd is not in the root" >&2; exit 1; }
cat "$BAKE_TREE/$kernel" > "$BAKE_KERNELS/vmlinuz"
cat "$BAKE_TREE/$initrd" > "$BAKE_KERNELS/initrd.img"
mkdir -p "$BAKE_TREE/boot/grub"
printf '%s' "$BAKE_GRUB_CFG" | sed "s|@KERNEL@|/$kernel|; s|@INITRD@|/$initrd|" > "$BAKE_TREE/boot/grub/grub.cfg"
touch -d "@$BAKE_EPOCH" "$BAKE_TREE/boot/grub/grub.cfg" "$BAKE_TREE/boot/grub" "$BAKE_TREE/boot"

if [ "$BAKE_SIZE" = 0 ]; then
    # Whole blocks of files, one for each folder, the inodes, a quarter more, and room for a journal.
    BAKE_SIZE=$(find "$BAKE_TREE" -xdev -printf '%y %s\n' | awk -v around=$((BAKE_OFFSET + BAKE_TAIL)) '
        { inodes++ }
        $1 == "f" { blocks += int(($2 + 4095) / 4096) }
        $1 == "d" { blocks++ }
        END { mib = 1048576; need = (blocks * 4096 + inodes * 256) * 1.25 + 128 * mib + around
              printf "%.0f", int((need + mib - 1) / mib) * mib }')
fi
truncate -s "$BAKE_SIZE" "$BAKE_DISK"
blocks=$(((BAKE_SIZE - BAKE_OFFSET - BAKE_TAIL) / 1048576 * 256))
# GRUB 2.06 reads neither metadata_csum_seed nor orphan_file: MKE2FS_CONFIG names the features.
E2FSPROGS_FAKE_TIME=$BAKE_EPOCH mke2fs -q -F -t ext4 -b 4096 -L root -U "$BAKE_FS_UUID" \
    -E "offset=$BAKE_OFFSET,hash_seed=$BAKE_FS_UUID,assume_storage_prezeroed=1,root_owner=0:0" \
    -d "$BAKE_TREE" "$BAKE_DISK" "$blocks" >&2
# mke2fs takes the change and access times from the tree, whose they cannot be set: here they can.
inodes=$(debugfs -R 'show_super_stats -h' "$BAKE_DISK?offset=$BAKE_OFFSET" 2> /dev/null |
    awk -F: '$1 == "Inode count" { all = $2 } $1 == "Free inodes" { free = $2 } END { print all - free }')
{
    echo 2
    seq 11 "$inodes"
} | while read -r inode; do
    for time in atime ctime; do
        printf 'set_inode_field <%s> %s @%s\nset_inode_field <%s> %s_extra 0\n' \
            "$inode" "$time" "$BAKE_EPOCH" "$inode" "$time"
    done
done | E2FSPROGS_FAKE_TIME=$BAKE_EPOCH debugfs -w -f - "$BAKE_DISK?offset=$BAKE_OFFSET" > /dev/null 2>&1
