# Who the build let in. $U is the build's user and $UR the same for a regular expression; $KEY is the
# base64 body of the build's public key.

op_build_user() {
    case $U in '' | root) return 0 ;; esac
    _at=/home/$U
    while IFS=: read -r _name _ _ _ _ _home _; do
        if [ "$_name" = "$U" ]; then _at=$_home; fi
    done <"$R/etc/passwd"
    for _file in passwd shadow subuid subgid; do edit "$R/etc/$_file" "/^$UR:/d"; done
    _member="/^$UR:/d; s/\([:,]\)$UR,/\1/g; s/\([:,]\)$UR\$/\1/; s/,\$//"
    edit "$R/etc/group" "$_member"
    edit "$R/etc/gshadow" "$_member; s/:$UR:/::/; s/,$UR:/:/"
    grep -ls "^$UR[[:space:]]" "$R/etc/sudoers" "$R"/etc/sudoers.d/* | while IFS= read -r _file; do
        edit "$_file" "/^$UR[[:space:]]/d"
        # cloud-init's file holds nothing else but comments.
        grep -qv '^[[:space:]]*\(#.*\)\{0,1\}$' "$_file" || drop "$_file"
    done
    drop "$R/var/mail/$U" "$R/var/spool/mail/$U" "$R/var/spool/cron/crontabs/$U" "$R/var/spool/cron/$U" \
        "$R/var/lib/systemd/linger/$U" "$R/var/lib/AccountsService/users/$U"
    case $_at in
        */.. | */../* | */. | */./*) ;;
        /home/?* | /var/home/?* | /var/lib/?* | /opt/?* | /srv/?* | /export/?*) drop "$R$_at" ;;
    esac
}

op_authorized_keys() {
    [ -n "$KEY" ] || return 0
    _ifs=$IFS
    IFS=$NL
    set --
    for _home in $HOMES; do set -- "$@" "$_home/.ssh/authorized_keys" "$_home/.ssh/authorized_keys2"; done
    IFS=$_ifs
    grep -lsF -e "$KEY" "$@" "$R"/etc/ssh/authorized_keys* "$R"/etc/ssh/authorized_keys.d/* |
        while IFS= read -r _file; do
            rewrite "$_file" "$(cat "$_file")" "$(grep -vF -e "$KEY" "$_file")"
            if ! grep -q '[^[:space:]]' "$_file"; then
                drop "$_file"
                rmdir "${_file%/*}" 2>/dev/null
            fi
        done
    return 0
}
