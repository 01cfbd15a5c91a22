# Steps of type packages. $update, $from and $options are set; names and versions have no space.

find_manager() {
    resource packages 'package manager'
    if has apt-get && has dpkg-query; then manager=apt; return; fi
    if has apk; then manager=apk; return; fi
    for other in dnf microdnf yum zypper pacman; do
        ! has "$other" || fail "\`$other\` is not supported yet, only apt and apk are: use a step of type shell"
    done
    fail 'the machine has no supported package manager: neither apt nor apk'
}

# apk's NAME-VERSION-rN as two words.
apk_versions() {
    sed -n 's/^\(.*\)-\([^-]*-r[0-9][0-9]*\)$/\1 \2/p'
}

# All that is installed, a line each: name and version.
snapshot() {
    case $manager in
        apt)
            dpkg-query -W -f '${db:Status-Status} ${binary:Package} ${Version}\n' 2>/dev/null |
                sed -n 's/^installed //p'
            ;;
        apk) apk info -v 2>/dev/null | apk_versions ;;
    esac | sort
}

# Sets $have to the version of a package that is installed, or to nothing, and $real to its name: another package may
# provide it.
installed() {
    real=$1
    if [ "$manager" = apk ]; then
        have=$(snapshot | second "$1")
        return
    fi
    have=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p' | head -n 1)
    [ -z "$have" ] || return 0
    provider=$(dpkg-query -W -f '${db:Status-Status}, ${binary:Package}, ${Version}, ${Provides}\n' 2>/dev/null |
        awk -F ', *' -v name="$1" '$1 == "installed" { for (i = 4; i <= NF; i++) { split($i, word, " ")
            if (word[1] == name) { print $2, $3; exit } } }')
    [ -z "$provider" ] || real=${provider% *} have=${provider#* }
}

# The second word of the line that begins with a word.
second() {
    awk -v first="$1" '$1 == first { print $2; exit }' ${2+"$2"}
}

# Sets $state to what is there of a package: `absent`, `config-files` or `installed`.
presence() {
    state=absent
    if [ "$manager" = apk ]; then
        installed "$1"
        [ -z "$have" ] || state=installed
        return
    fi
    for one in $(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null); do
        case $state,$one in
            *,not-installed | installed,*) ;;
            *,config-files) state=config-files ;;
            *) state=installed ;;
        esac
    done
}

# Without a question, after another apt is done, and with configuration files as they are.
apt='-q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold'

# Refreshes the package lists, once.
refresh() {
    [ -z "${refreshed-}" ] || return 0
    resource packages 'package lists'
    refresh_lists "$manager"
    refreshed=yes
}

# Begins: what is there.
prepare() {
    find_manager
    if [ "$manager" = apk ] && [ -n "$from" ]; then fail '`from` is for apt: with apk write NAME@TAG'; fi
    snapshot >"$work/before"
    : >"$work/declared"
    : >"$work/had"
    : >"$work/wanted"
    [ "$update" != true ] || refresh
}

# A package that shall be there: its name, its version or *, and what to ask the package manager for.
want() {
    resource package "$1"
    installed "$1"
    printf '%s %s\n' "$1" "${have:-absent}" >>"$work/had"
    case $have in
        '') ;;
        $2) return 0 ;;
    esac
    printf '%s\n' "$3" >>"$work/wanted"
}

# Installs packages in one call.
install() {
    if [ "$manager" = apk ]; then
        apk --wait 600 add "$@"
        return
    fi
    [ -z "$from" ] || set -- -t "$from" "$@"
    apt-get $apt $options install --allow-downgrades "$@"
}

# Installs all that is wanted at once.
install_wanted() {
    [ -s "$work/wanted" ] || return 0
    [ "$update" = false ] || lists_are_fresh || refresh
    set --
    while read -r word; do set -- "$@" "$word"; done <"$work/wanted"
    code=0
    try install "$@" || code=$?
    # Lists of a step before may be older than what the mirror has; a package's own script does not run twice.
    if [ "$code" -ne 0 ] && [ "$update" != false ] && ! grep -q 'Sub-process' "$work/output" && [ -z "${refreshed-}" ]; then
        refresh
        code=0
        try install "$@" || code=$?
    fi
    resource packages install
    [ "$code" -eq 0 ] || fail "\`$manager\` ended with exit code $code: $(last_lines)"
}

# A package that was asked for by its name stays when nothing else needs it any more: sees to that for $real, which is
# installed and was asked for as this.
mark_manual() {
    if [ "$manager" = apk ]; then
        [ -e /etc/apk/world ] && ! sed 's/[<>=~@].*//' /etc/apk/world | grep -qxF -e "$real" || return 0
        run apk --wait 600 add "$1"
    else
        # One call for all: few are.
        [ -e "$work/automatic" ] || apt-mark showauto >"$work/automatic" 2>/dev/null || return 0
        grep -qxF -e "$real" -e "${real%:*}" "$work/automatic" && [ -n "$(apt-mark showauto "$real")" ] || return 0
        run apt-mark manual "$real"
    fi
    changes mark automatic manual
}

# A package that shall be there is: its name, its version or *, and what the package manager was asked for.
got() {
    resource package "$1"
    installed "$1"
    case $have in
        '') fail 'it is not installed, though the package manager reports success' ;;
        $2) ;;
        *) fail "version $have is installed, not $2" ;;
    esac
    printf '%s\n' "$1" >>"$work/declared"
    same version "$(second "$1" "$work/had")" "$have" || :
    mark_manual "$3"
    finish_resource
}

# Whether a package is gone as it shall be: remove or purge, and its state.
is_gone() {
    case $1,$2 in
        *,absent | remove,config-files) return 0 ;;
    esac
    return 1
}

# Takes packages out at once: remove or purge, and their names.
take_out() {
    how=$1
    shift
    unwanted=''
    for package; do
        presence "$package"
        printf '%s %s\n' "$package" "$state" >>"$work/states"
        is_gone "$how" "$state" || unwanted="$unwanted $package"
    done
    resource packages "$how"
    if [ -n "$unwanted" ]; then
        if [ "$manager" = apt ]; then
            run apt-get $apt "$how" $unwanted
        elif [ "$how" = purge ]; then
            run apk --wait 600 del --purge $unwanted
        else
            run apk --wait 600 del $unwanted
        fi
    fi
    for package; do
        resource package "$package"
        presence "$package"
        is_gone "$how" "$state" || fail "it is still there ($state), though the package manager reports success"
        printf '%s\n' "$package" >>"$work/declared"
        same state "$(second "$package" "$work/states")" "$state" || :
        finish_resource
    done
}

# Brings all that is installed to its newest version.
upgrade() {
    [ "$update" = false ] || refresh
    resource packages upgrade
    snapshot >"$work/old"
    if [ "$manager" = apt ]; then
        run apt-get $apt $options --with-new-pkgs upgrade
    else
        run apk --wait 600 upgrade
    fi
    snapshot >"$work/new"
    cmp -s "$work/old" "$work/new" || diff=$(compare "$work/old" "$work/new" | grep '^[-+]')
    # These are counted here, and not again one by one.
    cp "$work/new" "$work/before"
    finish_resource
}

# Packages that shall keep their version, or not any more: hold or unhold, and their names.
hold() {
    how=$1
    shift
    for package; do
        resource hold "$package"
        [ "$manager" = apt ] || fail "$manager holds no packages: write NAME=VERSION in \`install\`"
        presence "$package"
        now=unheld
        if [ -n "$(apt-mark showhold "$package")" ]; then now=held; fi
        case $how,$now,$state in
            hold,unheld,installed)
                run apt-mark hold "$package"
                changes state unheld held
                ;;
            hold,unheld,*) fail 'it is not installed' ;;
            unhold,held,*)
                run apt-mark unhold "$package"
                changes state held unheld
                ;;
        esac
        finish_resource
    done
}

# What came, changed or went beside what is declared.
others() {
    snapshot >"$work/after"
    awk -v declared="$work/declared" '
        BEGIN { while ((getline one < declared) > 0) said[one] = 1 }
        { plain = $1; sub(/:.*/, "", plain) }
        (plain in said) || ($1 in said) { next }
        FILENAME ~ /before$/ { old[$1] = $2; next }
        !($1 in old) { print $1, "absent", $2; next }
        old[$1] != $2 { print $1, old[$1], $2 }
        { delete old[$1] }
        END { for (one in old) print one, old[one], "absent" }' "$work/before" "$work/after" | sort >"$work/others"
    while read -r one was is; do
        resource package "$one"
        changes version "$was" "$is"
        finish_resource
    done <"$work/others"
}
