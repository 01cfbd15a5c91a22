# What every script of a seal uses. POSIX sh with the tools of busybox or coreutils; $R is the
# root of the tree, empty in a machine. In an emulated machine a process takes 10 ms and more: none is
# started where there is nothing to do.
#
# A script reports what it did in lines:
#   op<TAB>NAME               an operation begins
#   (a line of `ls -ldn`)     something that it removed or emptied
#   item<TAB>BYTES<TAB>PATH   bytes that it took out of a file, or trimmed on a file system
#   note<TAB>TEXT             something for the user
#   fail<TAB>TEXT             it cannot go on
#   end                       it came to its end

NL='
'

fail() {
    printf 'fail\t%s\n' "$1"
    exit 1
}

run() {
    printf 'op\t%s\n' "$1"
    "$2"
}

# Removes files and whole folders.
drop() {
    for _path in "$@"; do
        shift
        if [ -e "$_path" ] || [ -L "$_path" ]; then set -- "$@" "$_path"; fi
    done
    [ $# -gt 0 ] || return 0
    _folder=
    for _path in "$@"; do if [ -d "$_path" ] && [ ! -L "$_path" ]; then _folder=1; fi; done
    if [ -n "$_folder" ]; then find "$@" -xdev -exec ls -ldn {} +; else ls -ldn "$@"; fi
    rm -rf -- "$@"
}

# Whether a folder holds anything.
holds() {
    [ -d "$1" ] || return 1
    for _name in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$_name" ] || [ -L "$_name" ]; then return 0; fi
    done
    return 1
}

# Removes what folders hold, but nothing on another file system.
hollow() {
    for _path in "$@"; do
        shift
        if holds "$_path"; then set -- "$@" "$_path/"; fi
    done
    [ $# -gt 0 ] || return 0
    find "$@" -xdev -mindepth 1 -exec ls -ldn {} +
    find "$@" -xdev -mindepth 1 ! -type d -exec rm -f -- {} +
    # A folder where something is mounted stays.
    find "$@" -xdev -depth -mindepth 1 -type d -exec rmdir {} + 2>/dev/null
    return 0
}

# Empties files; owner and mode stay.
empty() {
    for _path in "$@"; do
        shift
        if [ -f "$_path" ] && [ -s "$_path" ]; then set -- "$@" "$_path"; fi
    done
    [ $# -gt 0 ] || return 0
    ls -ldn "$@"
    if command -v truncate >/dev/null; then
        # Not by a redirection, which may make files: in a folder with the sticky bit Linux refuses that even to root
        # (`fs.protected_regular`), as where PostgreSQL keeps its logs.
        _said=$(truncate -c -s 0 -- "$@" 2>&1) || fail "cannot empty a file: $_said"
    else
        for _path in "$@"; do printf '' >"$_path" || fail "cannot empty $_path"; done
    fi
}

# rewrite FILE OLD NEW: puts a new text in the file's place; owner, mode and label stay.
rewrite() {
    [ "$2" != "$3" ] || return 0
    printf 'item\t%s\t%s\n' $((${#2} - ${#3})) "$1"
    if [ -n "$3" ]; then printf '%s\n' "$3" >"$1"; else printf '' >"$1"; fi
}

# edit FILE SED: rewrites a file by a sed script.
edit() {
    [ -f "$1" ] || return 0
    _old=$(cat "$1") && _new=$(sed "$2" "$1") || return 0
    rewrite "$1" "$_old" "$_new"
}

# Like edit, but a file of which nothing is left goes.
edit_or_drop() {
    edit "$1" "$2"
    grep -q '[^[:space:]]' "$1" || drop "$1"
}

# Every home folder: root's, those in /home, and those of services.
find_homes() {
    HOMES="$R/root"
    for _home in "$R"/home/* "$R"/var/home/*; do
        if [ -d "$_home" ]; then HOMES="$HOMES$NL$_home"; fi
    done
    [ -r "$R/etc/passwd" ] || return 0
    while IFS=: read -r _name _ _ _ _ _home _; do
        case $_home in
            '' | / | /root | /home/* | /var/home/* | /bin | /sbin | /dev | /dev/* | /proc | /usr/* | /run/* | /var/run/*) continue ;;
        esac
        case "$NL$HOMES$NL" in *"$NL$R$_home$NL"*) continue ;; esac
        if [ -d "$R$_home" ]; then HOMES="$HOMES$NL$R$_home"; fi
    done <"$R/etc/passwd"
}

# Removes paths, which may be patterns, from every home.
drop_in_homes() {
    _ifs=$IFS
    IFS=$NL
    for _pattern in "$@"; do
        shift
        for _home in $HOMES; do
            for _path in "$_home"/$_pattern; do
                if [ -e "$_path" ] || [ -L "$_path" ]; then set -- "$@" "$_path"; fi
            done
        done
    done
    IFS=$_ifs
    [ $# -eq 0 ] || drop "$@"
}
