# Tools that a step's `install` put into the machine for the build alone. Each has a folder of plain lists, one name a
# line, in /var/lib/imgbake/tools:
#   apt      packages that apt added; what people installed themselves is marked as such by apt, and stays
#   apk      virtual packages that name what apk added
#   users    users that came with the packages
#   groups   groups, likewise
#   links    links to a tool's programs
#   folders  folders that a tool has for itself

op_build_tools() {
    _tools="$R/var/lib/imgbake/tools"
    [ -d "$_tools" ] || return 0
    cat "$_tools"/*/links 2>/dev/null | while IFS= read -r _name; do
        case $_name in */../*) continue ;; /usr/local/?*) ;; *) continue ;; esac
        [ -L "$R$_name" ] || continue
        # One that a step has pointed elsewhere is not the tool's any more.
        case $(readlink "$R$_name") in /opt/imgbake-* | "$R"/opt/imgbake-*) drop "$R$_name" ;; esac
    done
    cat "$_tools"/*/folders 2>/dev/null | while IFS= read -r _name; do
        case $_name in */../* | */..) ;; /opt/?*) drop "$R$_name" ;; esac
    done
    cat "$_tools"/*/apk 2>/dev/null | while IFS= read -r _name; do remove_apk "$_name"; done
    _added=$(cat "$_tools"/*/apt 2>/dev/null | sort -u)
    [ -z "$_added" ] || remove_apt
    remove_accounts users passwd shadow
    remove_accounts groups group gshadow
    drop "$_tools"
    rmdir "${_tools%/*}" 2>/dev/null
    return 0
}

# remove_accounts LIST FILES: what a package made stays when it is removed. What a script of another package names as
# well, or systemd's list of accounts, is not the tool's alone.
remove_accounts() {
    _list=$1
    shift
    for _name in $(cat "$_tools"/*/"$_list" 2>/dev/null | sort -u); do
        case $_name in *[!A-Za-z0-9_-]* | -*) continue ;; esac
        ! grep -qsw "$_name" "$R"/var/lib/dpkg/info/*.p*inst "$R"/lib/apk/db/installed "$R"/usr/lib/sysusers.d/*.conf ||
            continue
        for _file in "$@"; do edit "$R/etc/$_file" "/^$_name:/d"; done
        [ "$_list" = users ] || continue
        # Nor is it in a group.
        for _file in group gshadow; do
            edit "$R/etc/$_file" "s/\([:,]\)$_name,/\1/g; s/\([:,]\)$_name\$/\1/; s/,\$//"
        done
    done
}

# Removes a virtual package, and reports what went with it.
remove_apk() {
    apk info -e "$1" >/dev/null 2>&1 || return 0
    _before=$(apk info 2>/dev/null)
    if _said=$(apk del "$1" 2>&1) && ! apk info -e "$1" >/dev/null 2>&1; then
        _after=$(apk info 2>/dev/null)
        for _package in $_before; do
            case "$NL$_after$NL" in *"$NL$_package$NL"*) ;; *) printf 'item\t0\tpackage %s\n' "$_package" ;; esac
        done
    else
        printf 'note\tthe packages of %s are not removed: %s\n' "$1" "${_said##*"$NL"}"
    fi
}

# What no other package depends on or recommends; apt by itself keeps what one merely suggests as well.
autoremove() {
    apt-get -q -o APT::AutoRemove::SuggestsImportant=false -o DPkg::Lock::Timeout=600 "$@" autoremove
}

# Lines of size in KiB and name of those of these packages that are installed.
list_sizes() {
    dpkg-query -W -f '${db:Status-Status}\t${Installed-Size}\t${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed	//p'
}

# Removes those of $_added that nothing else needs. What nothing needed before stays: it is not ours to remove.
remove_apt() {
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    if ! _said=$(autoremove -s 2>&1); then
        printf 'note\ttools of the build are not removed: %s\n' "${_said##*"$NL"}"
        return
    fi
    _others=
    _ours=
    for _name in $(printf '%s\n' "$_said" | sed -n 's/^Remv \([^ :]*\).*/\1/p' | sort -u); do
        case "$NL$_added$NL" in
            *"$NL$_name$NL"*) _ours="$_ours $_name" ;;
            *) _others="$_others $_name" ;;
        esac
    done
    [ -n "$_ours" ] || return 0
    _before=$(list_sizes $_ours)
    [ -z "$_others" ] || apt-mark manual $_others >/dev/null
    _said=$(autoremove -y --purge 2>&1)
    [ -z "$_others" ] || apt-mark auto $_others >/dev/null
    # What is reported is what is gone, whatever apt says of its end.
    _after=$(list_sizes $_ours | cut -f 2)
    _left=
    while read -r _kib _name; do
        case "$NL$_after$NL" in
            *"$NL$_name$NL"*) _left="$_left $_name" ;;
            *) printf 'item\t%s\tpackage %s\n' "$((_kib * 1024))" "$_name" ;;
        esac
    done <<END
$_before
END
    [ -z "$_left" ] || printf 'note\ttools of the build are not removed (%s): %s\n' "${_left# }" "${_said##*"$NL"}"
}
