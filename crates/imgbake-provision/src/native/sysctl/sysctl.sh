# Steps of type sysctl.

# The file that sets them at each start: its path and text.
file() {
    resource file "$1"
    put_text "$2" "$1" 644
    finish_resource
}

# One setting of the running kernel.
setting() {
    resource sysctl "$1"
    need sysctl procps
    code=0
    now=$(sysctl -n "$1" 2>"$work/output") || code=$?
    [ "$code" -eq 0 ] || fail "the kernel does not know it: $(last_lines)"
    now=$(printf '%s\n' "$now" | spaced)
    declared=$(printf '%s\n' "$2" | spaced)
    same value "$now" "$declared" || run sysctl -q -w "$1=$2"
    finish_resource
}

# A value with single spaces.
spaced() {
    tr -s '\t ' '  ' | sed 's/^ //; s/ $//'
}
