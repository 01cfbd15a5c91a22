# Steps of type files.

# A file: what it shall be, where, its owner and mode, and `secret` where its bytes are not shown.
copied() {
    resource file "$2"
    put "$1" "$2" "$3" "$4" "${5-}"
    finish_resource
}

# A folder: where, its owner and mode; empty ones of a folder that is there stay. The fourth is the owner of a new one.
folder() {
    resource directory "$1"
    if [ ! -d "$1" ]; then
        if [ -e "$1" ] || [ -L "$1" ]; then fail 'there is something else of that name'; fi
        run mkdir -p "$1"
        changes directory absent present
        run chown "${2:-${4:-0:0}}" "$1"
        set_mode "${3:-755}" "$1"
    else
        old=$(facts "$1")
        [ -z "$2" ] || run chown "$2" "$1"
        [ -z "$3" ] || set_mode "$3" "$1"
        same directory "$old" "$(facts "$1")" || :
    fi
    finish_resource
}

# A symbolic link: where, and what it names.
link() {
    resource link "$1"
    now=absent
    if [ -L "$1" ]; then
        now=$(readlink "$1" && echo .)
        now=${now%?.}
    elif [ -d "$1" ]; then
        fail 'there is a folder of that name'
    elif [ -e "$1" ]; then
        now='a file'
    fi
    if ! same link "$now" "$2"; then
        parent=${1%/*}
        [ -d "${parent:-/}" ] || run mkdir -p "$parent"
        run rm -f "$1"
        run ln -s -- "$2" "$1"
    fi
    finish_resource
}

# What shall not be there.
gone() {
    resource file "$1"
    if [ -e "$1" ] || [ -L "$1" ]; then
        if [ -d "$1" ] && [ ! -L "$1" ]; then changes file 'a folder' absent; else changes file present absent; fi
        run rm -rf "$1"
    fi
    finish_resource
}
