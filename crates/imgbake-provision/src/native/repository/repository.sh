# Steps of type repository.

# An apt repository: its name, its description without the key, the key's file and ending (or nothing), and whether
# the lists are refreshed.
apt_repository() {
    resource repository "$1"
    has apt-config || fail 'this form is for apt, which the machine does not have'
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
    if [ -n "$diff" ] && [ "$5" = true ]; then refresh_apt; fi
    settled
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
    [ -z "$3" ] || put "$3" "/etc/apk/keys/$4" 0:0 644 '' key
    file=/etc/apk/repositories
    { cat "$file" 2>/dev/null || :; } >"$work/lines"
    printf '%s' "$2" >"$work/more"
    while read -r line; do
        grep -qxF -e "$line" "$work/lines" || printf '%s\n' "$line" >>"$work/lines"
    done <"$work/more"
    put "$work/lines" "$file" 0:0 644
    if [ -n "$diff" ] && [ "$5" = true ]; then run apk --wait 600 update; fi
    settled
}
