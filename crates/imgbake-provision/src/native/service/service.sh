# Steps of type service.

find_init() {
    resource services 'service manager'
    if has systemctl; then init=systemd; return; fi
    if has rc-update; then init=openrc; return; fi
    fail 'the machine has no supported service manager: neither systemd nor OpenRC'
}

# Where systemd looks for unit files; the first counts.
unit_folders='/etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system
/lib/systemd/system'

# Sets $state to what the service manager says of a unit: enabled, disabled, masked, static, … (systemctl(1),
# `is-enabled`)
look() {
    if [ "$init" = openrc ]; then
        [ -e "/etc/init.d/$1" ] || no_unit "$1"
        state=disabled
        for one in /etc/runlevels/*/"$1"; do [ ! -e "$one" ] || state=enabled; done
        return
    fi
    state=$(systemctl is-enabled -- "$1" 2>"$work/unit") || :
    [ -z "$state" ] || return 0
    grep -q 'No such file\|not found\|does not exist' "$work/unit" ||
        fail "its state is unknown: $(head -c 800 "$work/unit")"
    state=not-found
}

# Sets $target to the unit that is meant by a name, and $state to its state: an alias is only there while its unit is
# enabled, and systemctl enables nothing by it.
find_unit() {
    target=$1
    look "$1"
    case $1 in
        *.service | *.socket | *.timer | *.target | *.path | *.mount | *.automount | *.swap | *.slice) file=$1 ;;
        *) file=$1.service ;;
    esac
    case $state in
        alias)
            for folder in $unit_folders; do
                [ -L "$folder/$file" ] || continue
                target=$(readlink -f "$folder/$file")
                target=${target##*/}
                break
            done
            ;;
        not-found)
            word=$(printf '%s\n' "$file" | sed 's/[.\\]/\\&/g')
            set --
            for folder in $unit_folders; do
                for path in "$folder"/*.*; do [ ! -f "$path" ] || set -- "$@" "$path"; done
            done
            [ $# -gt 0 ] || return 0
            found=$(grep -lsE "^Alias=(.*[[:space:]])?$word([[:space:]]|\$)" "$@" | head -n 1)
            [ -n "$found" ] || return 0
            target=${found##*/}
            ;;
        *) return 0 ;;
    esac
    look "$target"
}

no_unit() {
    fail "there is no unit \`$1\` in the machine: install its package in a step before, or fix its name"
}

# Brings units to a state: enable, disable, mask or unmask, and their names.
units() {
    how=$1
    shift
    for unit; do
        resource service "$unit"
        target=$unit
        if [ "$init" = openrc ]; then look "$unit"; else find_unit "$unit"; fi
        refuse "$how" "$state"
        was=$state
        if ! is_so "$how" "$was"; then
            links >"$work/before"
            if [ "$init" = openrc ]; then openrc "$how" "$unit"; else systemd "$how" "$was" "$target"; fi
            look "$target"
            case $how,$state in
                # It has no link of its own: whether links of others changed says what was done.
                enable,indirect | disable,indirect) ;;
                *) is_so "$how" "$state" || fail "it is $state after \`$how\`: $(last_lines)" ;;
            esac
            links >"$work/after"
            if [ "$was" = "$state" ] && ! cmp -s "$work/before" "$work/after"; then
                diff=$(compare "$work/before" "$work/after" | grep '^[-+]/')
            fi
        fi
        same "state" "$was" "$state" || :
        finish_resource "$(hint "$how" "$state")"
    done
}

# The links by which units start others.
links() {
    find /etc/systemd/system -type l 2>/dev/null | sort
}

systemd() {
    case $1,$2 in
        unmask,masked-runtime) run systemctl --runtime unmask -- "$3" ;;
        *) run systemctl "$1" -- "$3" ;;
    esac
}

# What cannot be: enable, disable, mask or unmask, and the state.
refuse() {
    case $1,$2 in
        # What is not there can be masked before it comes, and is not masked.
        mask,not-found | unmask,not-found) ;;
        *,not-found) no_unit "$unit" ;;
        *,bad) fail "its unit file is invalid: $(head -c 800 "$work/unit")" ;;
        enable,masked*) fail 'it is masked: `unmask` it first' ;;
        enable,static) fail 'it is static: its file has no [Install] section, other units start it' ;;
        enable,transient) fail 'it is transient: it has no unit file that could be enabled' ;;
        disable,generated) fail 'it is generated: change what it is generated from, or `mask` it' ;;
    esac
}

# Whether a state is what is declared.
is_so() {
    case $1,$2 in
        enable,enabled | enable,generated) return 0 ;;
        # A unit that is only linked does not start; what /run has is gone when the machine restarts.
        disable,disabled | disable,static | disable,masked* | disable,transient | disable,linked* | disable,enabled-runtime)
            return 0
            ;;
        mask,masked) return 0 ;;
        unmask,masked | unmask,masked-runtime) return 1 ;;
        unmask,*) return 0 ;;
    esac
    return 1
}

# What to say of a unit that is as declared: enable, disable, mask or unmask, and its state.
hint() {
    if [ "$target" != "$unit" ]; then
        echo "it is another name of $target"
        return
    fi
    case $1,$2 in
        disable,static) echo 'it is static: other units may start it; `mask` keeps it off' ;;
        *,indirect) echo 'it is indirect: it starts by the units that its [Install] section names' ;;
        unmask,not-found) echo 'there is no such unit' ;;
    esac
}

openrc() {
    case $1 in
        enable) run rc-update add "$2" default ;;
        disable) run rc-update --all del "$2" ;;
        *) fail "OpenRC cannot $1 a service" ;;
    esac
}

# Starts or stops services: start or stop, and their names.
running() {
    how=$1
    shift
    for unit; do
        resource service "$unit"
        look "$unit"
        [ "$state" != not-found ] || no_unit "$unit"
        activity "$unit"
        was=$state
        case $how,$state in
            start,stopped | stop,running)
                if [ "$init" = openrc ]; then run rc-service "$unit" "$how"; else run systemctl "$how" -- "$unit"; fi
                activity "$unit"
                ;;
        esac
        case $how,$state in
            start,stopped) fail 'it does not run after it was started' ;;
            stop,running) fail 'it runs after it was stopped' ;;
        esac
        same activity "$was" "$state" || :
        finish_resource
    done
}

# Sets $state to running or stopped.
activity() {
    state=stopped
    if [ "$init" = openrc ]; then
        ! rc-service "$1" status >/dev/null 2>&1 || state=running
    else
        ! systemctl is-active --quiet -- "$1" || state=running
    fi
}
