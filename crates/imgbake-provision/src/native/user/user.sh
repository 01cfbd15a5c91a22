# Steps of type user. $password is set where one is declared.

# Sets $have to a field of the user's line in a file of /etc: its name, and the field, from 1.
field() {
    have=$(awk -F: -v user="$user" -v at="$2" '$1 == user { print $at; exit }' "/etc/$1")
}

# Whether a file of /etc has a line of that name.
exists() {
    awk -F: -v name="$2" '$1 == name { found = 1 } END { exit !found }' "/etc/$1"
}

# A group that the user shall be in.
group() {
    resource group "$1"
    if ! exists group "$1"; then
        if has groupadd; then run groupadd --system "$1"; else run addgroup -S "$1"; fi
        changes group absent present
    fi
    finish_resource
}

# The user: name, numbers and texts; an empty one is not declared.
user() {
    user=$1 uid=$2 comment=$3 home=$4 shell=$5 system=$6
    created=no
    resource user "$user"
    if exists passwd "$user"; then
        modify
    else
        created=yes
        create
        changes user absent present
    fi
}

create() {
    if has useradd; then
        set -- --comment "$comment"
        if lives; then set -- "$@" --create-home; else set -- "$@" --no-create-home; fi
        [ -z "$uid" ] || set -- "$@" --uid "$uid"
        [ -z "$home" ] || set -- "$@" --home-dir "$home"
        set -- "$@" --shell "${shell:-$(login_shell)}"
        [ "$system" = false ] || set -- "$@" --system
        # A group of that name may be there already: it is the user's own then.
        if exists group "$user"; then set -- "$@" --gid "$user"; else set -- "$@" --user-group; fi
        run useradd "$@" "$user"
        return
    fi
    need adduser 'shadow or busybox'
    set -- -D -g "$comment" -s "${shell:-$(login_shell)}"
    [ -z "$uid" ] || set -- "$@" -u "$uid"
    [ -z "$home" ] || set -- "$@" -h "$home"
    [ "$system" = false ] || set -- "$@" -S
    lives || set -- "$@" -H
    if exists group "$user"; then set -- "$@" -G "$user"; fi
    run adduser "$@" "$user"
}

# Whether a new user has a home folder: one of the system only where it is declared.
lives() {
    [ "$system" = false ] || [ -n "$home" ]
}

# The shell of a new user of whom none is declared.
login_shell() {
    case $system in true) set -- /usr/sbin/nologin /sbin/nologin ;; *) set -- /bin/bash ;; esac
    for one; do [ ! -x "$one" ] || { echo "$one"; return; }; done
    echo /bin/sh
}

# One field of a user that is there: what, its place in passwd, what is declared (or nothing), and usermod's option.
modify_field() {
    [ -n "$3" ] || return 0
    field passwd "$2"
    if ! same "$1" "$have" "$3"; then
        need usermod 'shadow (on Debian: passwd)'
        run usermod "$4" "$3" "$user"
    fi
}

modify() {
    modify_field uid 3 "$uid" --uid
    modify_field comment 5 "$comment" --comment
    modify_field home 6 "$home" --home
    modify_field shell 7 "$shell" --shell
}

# The user is in a group.
member() {
    if id -nG "$user" | tr ' ' '\n' | grep -qxF -e "$1"; then return 0; fi
    if has usermod; then run usermod --append --groups "$1" "$user"; else run addgroup "$user" "$1"; fi
    changes group "not in $1" "in $1"
}

# The password: what is declared. A new account without one is locked for passwords and open for keys; one that is
# there keeps its own, but not an empty one.
secure() {
    field shadow 2
    if [ -n "${password+x}" ]; then
        [ "$have" = "$password" ] || set_password "$password" "${have:-empty}"
    elif [ -z "$have" ] || [ "$created" = yes ]; then
        set_password '*' "${have:-empty}"
    fi
}

# The password is this hash now; the one before is shown where it is none.
set_password() {
    has chpasswd || fail 'the machine has no `chpasswd`: install the package passwd (shadow) in a step before'
    printf '%s:%s\n' "$user" "$1" >"$work/password"
    code=0
    chpasswd -e <"$work/password" >"$work/output" 2>&1 || code=$?
    rm -f "$work/password"
    [ "$code" -eq 0 ] || fail "\`chpasswd\` ended with exit code $code: $(last_lines)"
    case $2 in
        empty) was=empty ;;
        '!'* | '*'*) was=locked ;;
        *) was=set ;;
    esac
    if [ "$1" = '*' ]; then is=locked; else is='set anew'; fi
    [ "$was" = "$is" ] || changes password "$was" "$is"
}

# The keys that the user's login accepts, a line each; and the build's own key, where it is the build's login. That one
# stays where it is accepted now, whatever is declared: the build needs it, and the seal removes it.
keys() {
    field passwd 6
    home=$have
    field passwd 3
    owner=$have
    field passwd 4
    owner="$owner:$have"
    if [ ! -d "$home" ]; then
        run mkdir -p "$home"
        run chown "$owner" "$home"
    fi
    if [ ! -d "$home/.ssh" ]; then
        run mkdir "$home/.ssh"
        set_mode 700 "$home/.ssh"
        run chown "$owner" "$home/.ssh"
    fi
    file=$home/.ssh/authorized_keys
    printf '%s' "$1" >"$work/keys"
    if [ -n "$2" ] && [ -f "$file" ] && ! grep -qF -e "$2" "$work/keys"; then
        grep -F -e "$2" "$file" >>"$work/keys" || :
    fi
    put "$work/keys" "$file" "$owner" 600 '' authorized_keys
}

# What the user may do with sudo: none, password or nopasswd.
sudo_rule() {
    # sudo reads no file whose name has a dot; no user's name has a `%`.
    rule=/etc/sudoers.d/$(printf '%s' "$user" | tr . %)
    case $1 in
        none)
            if [ -e "$rule" ]; then
                run rm -f "$rule"
                changes sudo allowed none
            fi
            return
            ;;
        password) rights='ALL' ;;
        nopasswd) rights='NOPASSWD: ALL' ;;
    esac
    need visudo sudo
    printf '%s ALL=(ALL:ALL) %s\n' "$user" "$rights" >"$work/rule"
    run visudo -c -q -f "$work/rule"
    put "$work/rule" "$rule" 0:0 440 '' sudo
}

# The user shall not be there; `true` takes the home folder out as well.
absent() {
    user=$1
    resource user "$user"
    sudo_rule none
    if exists passwd "$user"; then
        if has userdel; then
            if [ "$2" = true ]; then run userdel --remove "$user"; else run userdel "$user"; fi
        elif [ "$2" = true ]; then
            run deluser --remove-home "$user"
        else
            run deluser "$user"
        fi
        changes user present absent
    fi
    finish_resource
}
