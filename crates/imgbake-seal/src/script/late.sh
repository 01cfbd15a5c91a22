# The last thing that runs in the machine: systemd-shutdown(8) starts the hook after it has ended every
# process and unmounted or locked every file system. Shutting down wrote again, so some operations are
# repeated; then free blocks are trimmed, which only now can hold no deleted file that is still open.
# This text lies in memory (/run), for a deleted script that runs would keep / from going read-only.
# Before this come $NONCE, $R, $CONSOLES, $HOOK, $HOOK_DIR_MADE, $ROOT_TYPE, $MOUNTS and $TRIM.

report_to_consoles() {
    for _console in $CONSOLES; do
        case $_console in tty[0-9]* | tty) continue ;; esac
        if [ -c "$R/dev/$_console" ] || [ -p "$R/dev/$_console" ] || [ -f "$R/dev/$_console" ]; then
            sed "s/^/imgbake-seal:$NONCE:/" "$1" 2>/dev/null >>"$R/dev/$_console" || continue
            REPORTED=1
        fi
    done
}

# each_mount COMMAND: runs it with device, folder, type and options.
each_mount() {
    while IFS=' ' read -r _dev _dir _type _opts; do
        [ -z "$_dir" ] || "$1" "$_dev" "$_dir" "$_type" "$_opts"
    done <<EOF
$MOUNTS
EOF
}

mount_one() {
    # It may be there still, locked.
    mount -t "$3" -o "$4" "$1" "$R$2" 2>/dev/null || mount -o remount,rw "$R$2" ||
        printf 'note\tcannot mount %s again: what shutting down wrote there stays\n' "$2"
}

# ext4 holds free blocks back for files to come, in memory alone, and fstrim takes them for used: what was
# deleted in them would stay. A file that wants more than there is makes it let them go.
let_go() {
    fallocate -l 1099511627776 "$R$1/.imgbake-fill" 2>/dev/null
    rm -f "$R$1/.imgbake-fill"
    sync
}

trim_one() {
    case $3 in ext4) let_go "$2" ;; esac
    if _said=$(fstrim -v "$R$2" 2>&1); then
        _bytes=$(printf '%s\n' "$_said" | sed -n 's/.*[ (]\([0-9][0-9]*\) bytes.*/\1/p')
        printf 'item\t%s\t%s\n' "${_bytes:-0}" "$2"
    else
        printf 'note\tthe free blocks of %s are not trimmed: %s\n' "$2" "$_said"
    fi
    case $3 in ext[34]) wipe_journal "$2" ;; esac
}

# A file system's journal holds copies of folders, with the names of files that are gone. Linux 5.14
# zeroes it: EXT4_IOC_CHECKPOINT with ..._FLAG_ZEROOUT (fs/ext4/ioctl.c, uapi/linux/ext4.h).
wipe_journal() {
    if command -v perl >/dev/null; then
        perl -e 'open(my $d, "<", $ARGV[0]) or die "$!\n"; my $f = pack("L", 2);
            ioctl($d, 0x4004662b, $f) or die "$!\n"' "$R$1" 2>&1
    elif command -v python3 >/dev/null; then
        python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x4004662B, struct.pack("I", 2))' "$R$1" 2>&1
    else
        echo 'the machine has neither perl nor python3'
    fi | sed -n "\$s|.*|note	the journal of $1 is not wiped, names of deleted files may be in it: &|p"
}

release_one() {
    _released="$2$NL$_released"
}

release() {
    _released=
    each_mount release_one
    _ifs=$IFS
    IFS=$NL
    for _dir in $_released; do umount "$R$_dir" || mount -o remount,ro "$R$_dir"; done
    IFS=$_ifs
    mount -o remount,ro "$R/" || printf 'note\tcannot lock / again: its journal is not empty\n'
}

late() {
    if ! mount -o remount,rw "$R/"; then
        printf 'fail\tcannot write to / again when the machine powers off\n'
        return
    fi
    each_mount mount_one
    late_operations
    rm -f "$HOOK"
    [ -z "$HOOK_DIR_MADE" ] || rmdir "${HOOK%/*}"
    sync
    if [ -n "$TRIM" ]; then
        printf 'op\ttrim\n'
        trim_one "" / "$ROOT_TYPE"
        each_mount trim_one
    fi
    sync
    release
    printf 'end\n'
}

main() {
    # The kernel's own messages must not cut the report's lines.
    if [ -w "$R/proc/sys/kernel/printk" ]; then echo 1 >"$R/proc/sys/kernel/printk"; fi
    find_homes
    late >"$REPORT" 2>"$REPORT.err" </dev/null
    {
        echo
        sed '/^end$/d; 200q' "$REPORT"
        [ ! -s "$REPORT.err" ] || grep -v 'No such file' "$REPORT.err" | sed -n '1,20s/^/note	/p'
        sed -n '/^end$/{p;p;}' "$REPORT"
    } >"$REPORT.out"
    REPORTED=
    report_to_consoles "$REPORT.out"
    if [ -z "$REPORTED" ]; then CONSOLES=console report_to_consoles "$REPORT.out"; fi
}
