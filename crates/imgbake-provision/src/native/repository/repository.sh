# Steps of type repository.

# An apt repository: its name, its description without the key, the key's file and ending (or nothing), and whether
# the lists are refreshed.
apt_repository() {
    resource repository "$1"
    has apt-config || fail 'this form is for apt, which the machine does not have'
    begin "$5"
    eval "$(apt-config shell parts Dir::Etc::sourceparts/d etc Dir::Etc/d)"
    description=$2
    if [ -n "$3" ]; then
        key="${etc%/}/keyrings/$1.$4"
        put "$3" "$key" 0:0 644 '' key
        description="${description}Signed-By: $key$newline"
        # The same key in its other form would only confuse.
        for other in asc gpg; do
            [ "$other" = "$4" ] || drop "${etc%/}/keyrings/$1.$other"
        done
    fi
    put_text "$description" "${parts%/}/$1.sources" 644
    refresh_changed apt "$5"
    finish_resource
}

# From here on the lists are pending, where they are to be refreshed: a step that failed, or was ended, between a
# changed source and fresh lists is not as declared when it runs again.
begin() {
    was_pending=no
    [ "$1" = true ] || return 0
    [ ! -e "$pending" ] || was_pending=yes
    : >"$pending"
}

# Refreshes the lists of apt or apk where the repository changed, unless that is not wanted.
refresh_changed() {
    [ "$2" = true ] || return 0
    if [ -n "$diff" ] || [ "$was_pending" = yes ]; then refresh_lists "$1"; else rm -f "$pending"; fi
}

# Takes out a file.
drop() {
    if [ -e "$1" ]; then
        run rm -f "$1"
        changes "$1" file absent
    fi
}

# Repositories of apk: the step's name, lines, the key's file and name (or nothing), and whether the lists are
# refreshed.
apk_repository() {
    resource repository "$1"
    need apk apk-tools
    begin "$5"
    [ -z "$3" ] || put "$3" "/etc/apk/keys/$4" 0:0 644 '' key
    file=/etc/apk/repositories
    { cat "$file" 2>/dev/null || :; } >"$work/lines"
    printf '%s' "$2" >"$work/more"
    # A slash at the end makes no other repository.
    sed 's#/*$##' "$work/lines" >"$work/plain"
    while read -r line; do
        plain=$(printf '%s\n' "$line" | sed 's#/*$##')
        grep -qxF -e "$plain" "$work/plain" || printf '%s\n' "$line" >>"$work/lines"
    done <"$work/more"
    put "$work/lines" "$file" 0:0 644
    refresh_changed apk "$5"
    finish_resource
}
