# What a running machine leaves behind.

# Files in /var/log but those that have an operation of their own.
log_files() {
    find "$R/var/log/" -xdev \( -path "$R/var/log/journal" -o -path "$R/var/log//journal" \
        -o -name 'wtmp*' -o -name 'btmp*' -o -name 'lastlog*' -o -name faillog -o -name tallylog \
        -o -name 'cloud-init*.log*' \) -prune -o -type f "$@"
}

# Folders stay, and so do files that a service may want to find with its owner and mode: they are
# emptied. Rotated ones go.
op_logs() {
    [ -d "$R/var/log" ] || return 0
    log_files \( -name '*.gz' -o -name '*.xz' -o -name '*.bz2' -o -name '*.zst' -o -name '*.old' \
        -o -name '*.[0-9]' -o -name '*.[0-9][0-9]' -o -name 'imgbake-canary*' \
        -o -name '*-[12][0-9][0-9][0-9][01][0-9][0-3][0-9]' \) \
        -exec sh -c 'ls -ldn "$@"; rm -f "$@"' sh {} +
    log_files -size +0c -exec sh -c 'ls -ldn "$@"; for f; do printf "" >"$f"; done' sh {} +
}

op_journal() {
    hollow "$R/var/log/journal"
}

op_wtmp() {
    empty "$R/var/log/wtmp" "$R/var/log/btmp" "$R/var/log/lastlog" "$R/var/log/faillog" "$R/var/log/tallylog"
    drop "$R"/var/log/wtmp[.-]* "$R"/var/log/btmp[.-]* "$R"/var/log/lastlog[.-]* \
        "$R"/var/lib/lastlog/lastlog2.db* "$R"/var/lib/wtmpdb/wtmp.db*
}

# What is not configuration: an agent that was disabled stays so, and facts and modules that people put there stay.
op_agent_caches() {
    set --
    for _dir in "$R/var/cache/puppet" "$R/var/lib/puppet" "$R/opt/puppetlabs/puppet/cache"; do
        [ -d "$_dir" ] || continue
        for _path in "$_dir"/state/*; do
            case $_path in */agent_disabled.lock) ;; *) drop "$_path" ;; esac
        done
        for _name in bucket client_data client_yaml clientbucket devices lib locales preview public puppet-module \
            reports yaml; do
            set -- "$@" "$_dir/$_name"
        done
    done
    for _dir in "$R/var/chef" "$R/var/cinc"; do
        [ ! -d "$_dir" ] || set -- "$@" "$_dir/cache" "$_dir/backup" "$_dir/reports" "$_dir/local-mode-cache"
    done
    # Of Salt a minion's, as of the others an agent's: a master's jobs and tokens stay.
    hollow "$@" "$R/opt/puppetlabs/facter/cache/cached_facts" "$R/var/cache/facter/facts" \
        "$R/var/cache/salt/minion" "$R/var/cache/salt/proxy"
    # A node that a client has written, with what it found out of this machine; one that people wrote has none of that.
    grep -ls '"automatic"[[:space:]]*:' "$R"/var/chef/nodes/*.json "$R"/var/cinc/nodes/*.json |
        while IFS= read -r _file; do drop "$_file"; done
    drop_in_homes .puppetlabs/opt/puppet/cache .chef/local-mode-cache .cinc/local-mode-cache .ansible/tmp \
        .ansible/cp .ansible/galaxy_cache .ansible/facts .ansible_async
    # The folder itself, where Ansible had nothing but these in it.
    _ifs=$IFS
    IFS=$NL
    for _home in $HOMES; do rmdir "$_home/.ansible" 2>/dev/null || :; done
    IFS=$_ifs
}

op_crash_dumps() {
    hollow "$R/var/crash" "$R/var/lib/systemd/coredump" "$R/var/lib/systemd/pstore" "$R/var/spool/abrt"
}

op_mail() {
    drop "$R"/var/mail/*
    [ -L "$R/var/spool/mail" ] || drop "$R"/var/spool/mail/*
    drop_in_homes dead.letter
}

op_shell_histories() {
    drop_in_homes .bash_history .zsh_history .zhistory .ash_history .sh_history .history .ksh_history \
        .local/share/fish/fish_history .python_history .node_repl_history .mysql_history .psql_history \
        .sqlite_history .rediscli_history .irb_history .lesshst .viminfo .wget-hsts \
        .local/state/lesshst .local/state/python_history
}

op_tmp() {
    hollow "$R/tmp" "$R/var/tmp"
}

op_backup_files() {
    drop "$R/etc/passwd-" "$R/etc/shadow-" "$R/etc/group-" "$R/etc/gshadow-" "$R/etc/subuid-" \
        "$R/etc/subgid-" "$R/var/backups/passwd.bak" "$R/var/backups/shadow.bak" \
        "$R/var/backups/group.bak" "$R/var/backups/gshadow.bak"
}

# Swap holds pages of memory. A file that fstab names is made anew, any other goes.
op_swap_files() {
    _swaps=
    if [ -r "$R/proc/swaps" ]; then
        { read -r _ && read -r _ && _swaps=$(cat "$R/proc/swaps"); } <"$R/proc/swaps"
    fi
    while read -r _swap _type _kib _; do
        case $_type in
            file) swapoff "$R$_swap" && renew_swap "$_swap" $((_kib / 4 + 1)) ;;
            partition)
                case $_swap in
                    /dev/zram*) ;;
                    *) printf 'note\tthe swap partition %s may hold pages of memory: they are not wiped\n' "$_swap" ;;
                esac
                ;;
        esac
    done <<EOF
$_swaps
EOF
    for _swap in /swapfile /swap.img /var/swap; do
        [ ! -e "$R$_swap" ] || grep -qs "^$_swap[[:space:]]" "$R/etc/fstab" || drop "$R$_swap"
    done
}

# renew_swap FILE PAGES
renew_swap() {
    if ! grep -qs "^$1[[:space:]]" "$R/etc/fstab"; then
        drop "$R$1"
        return
    fi
    ls -ldn "$R$1"
    { dd if=/dev/zero of="$R$1" bs=4096 count="$2" conv=notrunc && mkswap "$R$1"; } >/dev/null 2>&1 ||
        printf 'fail\tcannot make the swap file %s anew\n' "$1"
}
