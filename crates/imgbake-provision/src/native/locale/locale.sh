# Steps of type locale.

# A locale that programs can use: its name.
generated() {
    resource locale "$1"
    if available "$1"; then
        finish_resource
        return
    fi
    need locale-gen 'locales (elsewhere glibc-langpack-LANGUAGE; musl has no such locales)'
    line=$(awk -v name="$1" '$1 == name { print; exit }' /usr/share/i18n/SUPPORTED 2>/dev/null) || :
    [ -n "$line" ] || fail 'there is no such locale: /usr/share/i18n/SUPPORTED lists them'
    list=/etc/locale.gen
    { cat "$list" 2>/dev/null || :; } >"$work/list"
    grep -qxF -e "$line" "$work/list" || printf '%s\n' "$line" >>"$work/list"
    put "$work/list" "$list" 0:0 644
    run locale-gen
    available "$1" || fail "\`locale-gen\` did not make it: $(last_lines)"
    diff=''
    changes locale absent present
    finish_resource
}

# Whether programs can use a locale. `locale -a` writes the character set small and without hyphens.
available() {
    case $1 in
        C | POSIX) return 0 ;;
    esac
    has locale || return 1
    locale -a 2>/dev/null | plain | grep -qxF -e "$(printf '%s\n' "$1" | plain)"
}

plain() {
    awk -F. '{ set = tolower($2); gsub(/-/, "", set); print (NF > 1) ? $1 "." set : $1 }'
}

# One assignment in a file of the system: the file, the name, the value. The file's other lines stay.
assign() {
    file=$1
    if [ -L "$file" ]; then file=$(readlink -f "$file"); fi
    { cat "$file" 2>/dev/null || :; } >"$work/lines"
    VALUE=$3 awk -v name="$2" '
        { line = $0; sub(/^[ \t]*(export[ \t]+)?/, "", line) }
        index(line, name "=") == 1 { if (!done) print name "=" ENVIRON["VALUE"]; done = 1; next }
        { print }
        END { if (!done) print name "=" ENVIRON["VALUE"] }' "$work/lines" >"$work/assigned"
    put "$work/assigned" "$file" 0:0 644
}

is_debian() { [ -e /etc/debian_version ]; }

# The language of the system.
language() {
    resource language "$1"
    available "$1" || fail 'the locale is not there: name it in `locales`'
    if is_debian || [ -e /etc/default/locale ]; then
        assign /etc/default/locale LANG "$1"
    else
        assign /etc/locale.conf LANG "$1"
    fi
    finish_resource
}

# The time zone of the system.
timezone() {
    resource timezone "$1"
    [ -d /usr/share/zoneinfo ] || fail 'the machine knows no time zones: install the package tzdata in a step before'
    [ -f "/usr/share/zoneinfo/$1" ] || fail 'there is no such time zone in /usr/share/zoneinfo'
    now=absent
    if [ -L /etc/localtime ]; then
        now=$(readlink /etc/localtime)
    elif [ -e /etc/localtime ]; then
        now='a file'
    fi
    if ! same /etc/localtime "$now" "/usr/share/zoneinfo/$1"; then
        run rm -f /etc/localtime
        run ln -s -- "/usr/share/zoneinfo/$1" /etc/localtime
    fi
    if is_debian || [ -e /etc/timezone ]; then put_text "$1$newline" /etc/timezone 644; fi
    finish_resource
}

# The keyboard of the console.
keymap() {
    resource keymap "$1"
    if is_debian || [ -e /etc/default/keyboard ]; then
        assign /etc/default/keyboard XKBLAYOUT "\"$1\""
    else
        assign /etc/vconsole.conf KEYMAP "$1"
    fi
    finish_resource
}
