# Brings a tool into the machine for the build, and writes down what came with it: the seal takes that out again
# (imgbake-seal, operation `build-tools`, says how the lists are read).
# Before this come $R, the root of the tree, empty in a machine; $INSTALL, where it shall be installed; $TOOL; $PROGRAMS,
# of which one is enough, and $FOLDERS, where else it may be; $APT and $APK, the packages, where `a|b` is the first of
# them that there is; $PIP, what pip installs; $VERSION of the first package; $REPOSITORY, a package source. Lists have
# one entry a line.

NL='
'
PATH="$R/usr/local/bin:$PATH:$FOLDERS"
LISTS="$R/var/lib/imgbake/tools/$TOOL"

fail() {
    printf 'imgbake: %s\n' "$*" >&2
    exit 1
}

# record LIST NAMES: adds to a list.
record() {
    mkdir -p -m 0755 "$R/var/lib/imgbake" "$R/var/lib/imgbake/tools" "$LISTS"
    printf '%s\n' "$2" >>"$LISTS/$1"
}

# Without a terminal of its own, dpkg does not count to a hundred per cent. Translated descriptions are not needed.
apt_get() {
    apt-get -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Acquire::Languages=none "$@"
}

# Whether the tool is there.
is_there() {
    while IFS= read -r _entry; do
        ! command -v "$_entry" >/dev/null || return 0
    done <<END
$PROGRAMS
END
    return 1
}

# Words of a package's name for apt: the first of `a|b` that has a candidate.
candidate() {
    _ifs=$IFS
    IFS='|'
    for _name in $1; do
        case $(LC_ALL=C apt-cache policy "$_name" 2>/dev/null) in
            *'Candidate: (none)'*) ;;
            *'Candidate: '*) FOUND=$_name && break ;;
        esac
    done
    IFS=$_ifs
}

# Sets $CHOSEN to the packages to install; fails where one cannot be had.
choose_apt() {
    CHOSEN=
    _version=$VERSION
    while IFS= read -r _entry; do
        [ -n "$_entry" ] || continue
        FOUND=
        candidate "$_entry"
        if [ -z "$FOUND" ]; then
            MISSING=$_entry
            return 1
        fi
        CHOSEN="$CHOSEN $FOUND${_version:+=$_version}"
        _version=
    done <<END
$1
END
}

add_apt_source() {
    [ -n "$REPOSITORY" ] || return 0
    case $REPOSITORY in deb\ * | deb-src\ *) _kind=list ;; *) _kind=sources ;; esac
    mkdir -p "$R/etc/apt/sources.list.d"
    # The seal removes what has this mark in its name.
    printf '%s\n' "$REPOSITORY" >"$R/etc/apt/sources.list.d/$TOOL.imgbake-build-only.$_kind"
    chmod 0644 "$R/etc/apt/sources.list.d/$TOOL.imgbake-build-only.$_kind"
    apt_get update
}

list_installed() {
    dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^.i. *//p' | sort -u
}

# The names of the users (`passwd`) or groups (`group`).
list_accounts() {
    cut -d: -f1 "$R/etc/$1" 2>/dev/null | sort -u
}

# new_of BEFORE NOW: the words that are new.
new_of() {
    for _name in $2; do
        case "$NL$1$NL" in *"$NL$_name$NL"*) ;; *) printf '%s\n' "$_name" ;; esac
    done
}

# A service of the tool is not started: it would make keys, and look for a server.
hold_services() {
    POLICY="$R/usr/sbin/policy-rc.d"
    [ -e "$POLICY" ] || [ ! -d "${POLICY%/*}" ] || {
        trap 'rm -f "$POLICY"' EXIT
        trap 'exit 143' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$POLICY"
        chmod 0755 "$POLICY"
    }
}

with_apt() {
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    choose_apt "$1" || {
        apt_get update
        choose_apt "$1" || fail "no package source of the machine has $MISSING"
    }
    hold_services
    _before=$(list_installed)
    # A machine that loses its power is built anew: nothing waits for its disk.
    set -- -o Dpkg::Options::=--force-unsafe-io
    set -- "$@" -y --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install
    # Lists may be older than what the mirror has.
    apt_get "$@" $CHOSEN || { apt_get update && apt_get "$@" $CHOSEN; } || fail "apt does not install$CHOSEN"
    _added=$(new_of "$_before" "$(list_installed)")
    [ -n "$_added" ] || return 0
    # What a later step installs by its name is marked as such by apt, and stays.
    apt-mark auto $_added >/dev/null
    record apt "$_added"
}

with_apk() {
    _list=$1
    set --
    _version=$VERSION
    while IFS= read -r _entry; do
        [ -n "$_entry" ] || continue
        set -- "$@" "${_entry%%|*}${_version:+=$_version}"
        _version=
    done <<END
$_list
END
    set -- --no-cache --virtual ".imgbake-$TOOL" "$@"
    [ -z "$REPOSITORY" ] || set -- --repository "$REPOSITORY" "$@"
    apk add "$@"
    record apk ".imgbake-$TOOL"
}

# with_packages APT APK
with_packages() {
    if command -v apt-get >/dev/null; then
        [ -z "$1" ] || with_apt "$1"
    elif command -v apk >/dev/null; then
        [ -z "$2" ] || with_apk "$2"
    else
        fail "the machine has neither apt-get nor apk: install $TOOL in a step before"
    fi
}

with_pip() {
    _folder="/opt/imgbake-$TOOL"
    record folders "$_folder"
    python3 -m venv "$R$_folder"
    set --
    while IFS= read -r _entry; do [ -z "$_entry" ] || set -- "$@" "$_entry"; done <<END
$PIP
END
    "$R$_folder/bin/python" -m pip install --no-cache-dir --disable-pip-version-check "$@"
    mkdir -p "$R/usr/local/bin"
    for _path in "$R$_folder"/bin/*; do
        _name=${_path##*/}
        case $_name in
            python* | pip* | activate* | Activate* | easy_install*) continue ;;
        esac
        [ ! -e "$R/usr/local/bin/$_name" ] && [ ! -L "$R/usr/local/bin/$_name" ] || continue
        ln -s "$R$_folder/bin/$_name" "$R/usr/local/bin/$_name"
        record links "/usr/local/bin/$_name"
    done
}

main() {
    ! is_there || return 0
    [ -n "$INSTALL" ] || exit 69
    ! command -v apt-get >/dev/null || add_apt_source
    _users=$(list_accounts passwd)
    _groups=$(list_accounts group)
    with_packages "$APT" "$APK"
    _users=$(new_of "$_users" "$(list_accounts passwd)")
    [ -z "$_users" ] || record users "$_users"
    _groups=$(new_of "$_groups" "$(list_accounts group)")
    [ -z "$_groups" ] || record groups "$_groups"
    [ -z "$PIP" ] || with_pip
    is_there || fail "what was installed has no program" $PROGRAMS
}
main
