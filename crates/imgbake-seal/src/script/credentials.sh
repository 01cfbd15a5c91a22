# What people and tools keep to prove who they are, and how they reach the world.

op_home_credentials() {
    drop_in_homes .aws .netrc .docker/config.json .config/gcloud .azure .kube .git-credentials \
        .config/git/credentials .config/gh/hosts.yml .config/containers/auth.json .config/rclone/rclone.conf \
        .pypirc '.cargo/credentials*' .gem/credentials .composer/auth.json .config/composer/auth.json \
        .terraform.d/credentials.tfrc.json .vault-token .pgpass .s3cfg .boto .oci .cache/huggingface/token \
        .ansible/galaxy_token \
        .gnupg/private-keys-v1.d .gnupg/secring.gpg .gnupg/random_seed \
        '.ssh/known_hosts*' '.ssh/id_*'
    _ifs=$IFS
    IFS=$NL
    set --
    for _home in $HOMES; do [ ! -f "$_home/.npmrc" ] || set -- "$@" "$_home/.npmrc"; done
    IFS=$_ifs
    [ $# -gt 0 ] || return 0
    # A registry's address is a setting, its token is not.
    grep -lsE '_auth|_password|_authToken' "$@" | while IFS= read -r _file; do
        edit_or_drop "$_file" '/_auth/d; /_password/d'
    done
}

# An address stays, the user and password in it do not.
op_package_credentials() {
    drop "$R/etc/apt/auth.conf" "$R"/etc/apt/auth.conf.d/*.conf
    _ifs=$IFS
    IFS=$NL
    set --
    for _home in $HOMES; do
        set -- "$@" "$_home/.pip/pip.conf" "$_home/.config/pip/pip.conf" "$_home/.config/uv/uv.toml"
    done
    IFS=$_ifs
    # Of git+ssh://git@HOST the user is part of the address, and no secret.
    grep -lsE 'https?://[^/@[:space:]]+@' "$@" "$R/etc/pip.conf" "$R/etc/xdg/pip/pip.conf" "$R/etc/uv/uv.toml" \
        "$R/etc/apt/sources.list" "$R"/etc/apt/sources.list.d/* "$R"/etc/yum.repos.d/* |
        while IFS= read -r _file; do
            edit "$_file" 's#\(https\{0,1\}://\)[^/@[:space:]]*@#\1#g'
        done
}

op_proxies() {
    grep -lsiE 'Proxy[A-Za-z0-9:._-]*[[:space:]]*"' "$R/etc/apt/apt.conf" "$R"/etc/apt/apt.conf.d/* |
        while IFS= read -r _file; do
            edit_or_drop "$_file" 's/[A-Za-z0-9:._-]*Proxy[A-Za-z0-9:._-]*[[:space:]]*"[^"]*"[[:space:]]*;//Ig'
        done
    _line='^[[:space:]]*(export[[:space:]]+)?(http|https|ftp|rsync|all|no)_proxy[[:space:]]*='
    grep -lsiE "$_line" "$R/etc/environment" "$R"/etc/profile.d/* "$R/etc/wgetrc" |
        while IFS= read -r _file; do
            _old=$(cat "$_file")
            rewrite "$_file" "$_old" "$(grep -viE "$_line" "$_file")"
            case $_file in "$R"/etc/profile.d/*) grep -q '[^[:space:]]' "$_file" || drop "$_file" ;; esac
        done
    if [ ! -e "$R/etc/dnf" ] && [ ! -e "$R/etc/yum.conf" ] && [ ! -e "$R/etc/yum.repos.d" ]; then return 0; fi
    grep -lsE '^[[:space:]]*proxy(_username|_password)?[[:space:]]*=' "$R/etc/dnf/dnf.conf" "$R/etc/yum.conf" \
        "$R"/etc/yum.repos.d/*.repo | while IFS= read -r _file; do
        edit "$_file" '/^[[:space:]]*proxy\(_username\|_password\)\{0,1\}[[:space:]]*=/d'
    done
}

# A file with the mark on a line of its own, or in its name, was made for the build alone; elsewhere a line with the
# mark was. apk has its repositories in one file, and no comments behind them: there the next line was.
op_build_repositories() {
    _mark='#[[:space:]]*imgbake:\{0,1\}[[:space:]]*build-only'
    URIS=
    for _file in "$R"/etc/apt/sources.list.d/*.imgbake-build-only.*; do
        [ ! -f "$_file" ] || { read_uris "$_file" && drop "$_file"; }
    done
    drop "$R"/etc/apt/keyrings/*.imgbake-build-only.*
    set --
    for _dir in "$R/etc/apt" "$R/etc/yum.repos.d" "$R/etc/zypp" "$R/etc/apk" "$R/etc/pacman.d"; do
        if [ -d "$_dir" ]; then set -- "$@" "$_dir"; fi
    done
    [ $# -gt 0 ] || return 0
    _marked=$(grep -rls "$_mark" "$@")
    _ifs=$IFS
    IFS=$NL
    for _file in $_marked; do
        case $_file in
            "$R"/etc/apk/*) edit "$_file" "/^[[:space:]]*$_mark/{\$!N;d;};/$_mark/d" ;;
            *)
                read_uris "$_file"
                if grep -q "^[[:space:]]*$_mark[[:space:]]*\$" "$_file"; then
                    drop "$_file"
                else
                    edit_or_drop "$_file" "/$_mark/d"
                fi
                ;;
        esac
    done
    for _uri in $(plain_uris "$URIS"); do drop_lists "$_uri"; done
    IFS=$_ifs
}

# Adds to $URIS the addresses that a file of apt's package sources names.
read_uris() {
    case $1 in "$R"/etc/apt/*) ;; *) return 0 ;; esac
    URIS="$URIS$NL$(cat "$1")"
}

# The addresses in a text, each without the slash that may end it: with and without, it is the same source.
plain_uris() {
    printf '%s\n' "$1" | sed 's/#.*//' | tr ' \t' '\n\n' | sed -n '/^[a-z+]*:\/\/./{s#/*$##;p;}' | sort -u
}

# Removes the package lists of an address that no package source names any more; files are named as apt does
# (URItoFileName in apt-pkg/contrib/strutl.cc).
drop_lists() {
    _named=$(plain_uris "$(cat "$R/etc/apt/sources.list" "$R"/etc/apt/sources.list.d/* 2>/dev/null)")
    case "$NL$_named$NL" in *"$NL$1$NL"*) return 0 ;; esac
    _name=$(printf '%s\n' "$1" | sed 's#^[a-z+]*://##; s#^[^/]*@##; s/_/%5f/g; s/~/%7e/g; s#/#_#g')
    drop "$R/var/lib/apt/lists/$_name"_dists_* "$R/var/lib/apt/lists/$_name"_._*
}

op_package_caches() {
    drop "$R"/var/cache/apt/archives/*.deb "$R"/var/cache/apt/archives/partial/* "$R"/var/cache/apt/*.bin
    hollow "$R/var/cache/dnf" "$R/var/cache/yum" "$R/var/cache/libdnf5" "$R/var/cache/zypp" \
        "$R/var/cache/apk" "$R/var/cache/pacman/pkg"
    drop_in_homes .cache/pip .npm/_cacache
}

op_package_lists() {
    [ -d "$R/var/lib/apt/lists" ] || return 0
    find "$R/var/lib/apt/lists/" -xdev -type f ! -name lock -exec sh -c 'ls -ldn "$@"; rm -f "$@"' sh {} +
}
