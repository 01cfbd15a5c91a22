# Steps of type sysctl.

# The file that sets them at each start: its path and text.
file() {
    resource file "$1"
    put_text "$2" "$1" 644
    settled
}

# One setting of the running kernel.
setting() {
    resource sysctl "$1"
    need sysctl procps
    code=0
    now=$(sysctl -n "$1" 2>"$work/words") || code=$?
    [ "$code" -eq 0 ] || fail "the kernel does not know it: $(words)"
    now=$(printf '%s\n' "$now" | spaced)
    declared=$(printf '%s\n' "$2" | spaced)
    same value "$now" "$declared" || run sysctl -q -w "$1=$2"
    settled
}

# A value with single spaces.
spaced() {
    tr -s '\t ' '  ' | sed 's/^ //; s/ $//'
}
