# Steps of type service.

find_init() {
    resource services 'service manager'
    if has systemctl; then init=systemd; return; fi
    if has rc-update; then init=openrc; return; fi
    fail 'no service manager is known here: neither systemd nor OpenRC'
}

# Sets $state to what the service manager says of a unit: enabled, disabled, masked, static, …
look() {
    if [ "$init" = openrc ]; then
        [ -e "/etc/init.d/$1" ] || no_unit "$1"
        state=disabled
        for one in /etc/runlevels/*/"$1"; do [ ! -e "$one" ] || state=enabled; done
        return
    fi
    state=$(systemctl is-enabled "$1" 2>"$work/words") || :
    case $state in
        '' | not-found) state=not-found ;;
    esac
}

no_unit() {
    fail "there is no unit \`$1\` in the machine: install its package in a step before, or mend its name"
}

# Brings units to a state: enable, disable, mask or unmask, and their names.
units() {
    how=$1
    shift
    for unit; do
        resource service "$unit"
        look "$unit"
        was=$state
        case $how,$state in
            # What is not there can be masked before it comes.
            mask,not-found) ;;
            *,not-found) no_unit "$unit" ;;
        esac
        if ! is_so "$how" "$was"; then
            if [ "$init" = openrc ]; then openrc "$how" "$unit"; else run systemctl "$how" "$unit"; fi
            look "$unit"
            is_so "$how" "$state" || fail "it is $state after \`$how\`$(why "$state")"
        fi
        same "state" "$was" "$state" || :
        case $how,$state in
            disable,static) settled 'it is static: other units may start it; `mask` keeps it off' ;;
            *) settled ;;
        esac
    done
}

# Whether a state is what is declared.
is_so() {
    case $1,$2 in
        enable,enabled | enable,indirect | enable,alias | enable,generated) return 0 ;;
        disable,disabled | disable,static | disable,indirect | disable,masked | disable,transient) return 0 ;;
        mask,masked) return 0 ;;
        unmask,masked | unmask,masked-runtime) return 1 ;;
        unmask,*) return 0 ;;
    esac
    return 1
}

why() {
    case $1 in
        static) echo ': its file has no [Install] section, other units start it' ;;
        masked*) echo ': `unmask` it first' ;;
        *) echo ": $(words)" ;;
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
                if [ "$init" = openrc ]; then run rc-service "$unit" "$how"; else run systemctl "$how" "$unit"; fi
                activity "$unit"
                ;;
        esac
        case $how,$state in
            start,stopped) fail 'it does not run after it was started' ;;
            stop,running) fail 'it runs after it was stopped' ;;
        esac
        same activity "$was" "$state" || :
        settled
    done
}

# Sets $state to running or stopped.
activity() {
    state=stopped
    if [ "$init" = openrc ]; then
        ! rc-service "$1" status >/dev/null 2>&1 || state=running
    else
        ! systemctl is-active --quiet "$1" || state=running
    fi
}
