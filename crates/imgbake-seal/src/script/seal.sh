# The first phase: all operations, over ssh; then the hook for the second. Before this come $R, $NONCE,
# $HOOK_NAME, $TRIM and $LATE, the late script's text.

# Real file systems beside / that are mounted for writing, one a line: device, folder, type, options.
list_mounts() {
    _root=
    while read -r _dev _dir _type _opts _; do
        case $_type in ext[234] | xfs | btrfs | vfat | f2fs | exfat | jfs) ;; *) continue ;; esac
        case ",$_opts," in *,ro,*) continue ;; esac
        case $_dir in
            /) _root=$_dev ROOT_TYPE=$_type && continue ;;
            *\\*) continue ;;
        esac
        # A part of / that is mounted a second time is trimmed with it.
        if [ "$_dev" = "$_root" ] && [ "$_type" != btrfs ]; then continue; fi
        MOUNTS="$MOUNTS$_dev $_dir $_type $_opts$NL"
    done <"$R/proc/mounts"
}

# A folder in memory that lasts until the machine is off.
memory_folder() {
    while read -r _ _dir _type _; do
        if [ "$_dir" = /run ] && [ "$_type" = tmpfs ]; then
            MEMORY="$R/run/imgbake"
        fi
    done <"$R/proc/mounts"
    : "${MEMORY:=$R/dev/imgbake}"
    mkdir -p "$MEMORY"
}

install_late() {
    ROOT_TYPE= MOUNTS= MEMORY=
    list_mounts
    memory_folder
    _systemd="$R/usr/lib/systemd"
    if [ -x "$R/lib/systemd/systemd-shutdown" ]; then _systemd="$R/lib/systemd"; fi
    HOOK="$_systemd/system-shutdown/$HOOK_NAME"
    HOOK_DIR_MADE=
    if [ ! -d "${HOOK%/*}" ]; then HOOK_DIR_MADE=1 && mkdir -p -m 755 "${HOOK%/*}"; fi
    CONSOLES="$(cat "$R/sys/class/tty/console/active" 2>/dev/null)"
    case " $CONSOLES " in
        *' ttyS'* | *' ttyAMA'* | *' hvc'*) ;;
        *) CONSOLES="$CONSOLES ttyS0 ttyAMA0 hvc0" ;;
    esac
    {
        printf 'NONCE=%s\nTRIM=%s\nHOOK_DIR_MADE=%s\nROOT_TYPE=%s\n' "$NONCE" "$TRIM" "$HOOK_DIR_MADE" "$ROOT_TYPE"
        printf "R='%s'\nHOOK='%s'\nREPORT='%s'\nCONSOLES='%s'\nMOUNTS='%s'\n" \
            "$R" "$HOOK" "$MEMORY/report" "$CONSOLES" "$MOUNTS"
        printf '%s\n' "$LATE"
    } >"$MEMORY/late" &&
        printf '#!/bin/sh\ncase $1 in poweroff | halt) exec sh %s ;; esac\n' "$MEMORY/late" >"$HOOK" &&
        chmod 755 "$HOOK"
}

main() {
    umask 077
    cd /
    find_homes
    operations
    # What follows on standard input is for a machine that is sealed.
    install_late || fail "cannot write the hook $HOOK for the end of the machine"
    printf 'end\n'
}
