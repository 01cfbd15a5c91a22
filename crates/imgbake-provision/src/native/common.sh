# Common functions of the native steps, for any POSIX shell run with -e. $mark begins each result.
: "${DEBIAN_FRONTEND=noninteractive}" "${APT_LISTCHANGES_FRONTEND=none}" "${NEEDRESTART_SUSPEND=1}"
export DEBIAN_FRONTEND APT_LISTCHANGES_FRONTEND NEEDRESTART_SUSPEND
umask 022
changed=0
# In the folder that goes with the script, however it ends.
work=$(mktemp -d "${0%/*}/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM
newline='
'

has() { command -v "$1" >/dev/null 2>&1; }

# Sets $json to a text as a string of JSON.
json() {
    case $1 in
        *[!A-Za-z0-9\ ._/:=+@%,~-]*)
            json=$(printf '%s\n' "$1" | LC_ALL=C awk '
                BEGIN { for (i = 1; i < 32; i++) code[sprintf("%c", i)] = sprintf("\\u%04x", i); code["\""] = "\\\""
                    code["\\"] = "\\\\"; code["\177"] = "\\u007f" }
                NR > 1 { printf "%s", "\\n" }
                !/[\001-\037"\\\177]/ { printf "%s", $0; next }
                { for (i = 1; i <= length($0); i++) { c = substr($0, i, 1); printf "%s", (c in code) ? code[c] : c } }')
            ;;
        *) json=$1 ;;
    esac
    json="\"$json\""
}

# A result: its outcome, and why.
result() {
    json "$type"
    line="{\"type\":$json"
    json "$name"
    line="$line,\"name\":$json,\"outcome\":\"$1\""
    if [ -n "$diff" ]; then
        json "$diff"
        line="$line,\"diff\":$json"
    fi
    if [ -n "${2-}" ]; then
        json "$2"
        line="$line,\"message\":$json"
    fi
    printf '%s%s}\n' "$mark" "$line"
}

# A resource begins: its type and name.
resource() {
    type=$1 name=$2 diff=''
}

# Something of the resource changes: what, from, to.
changes() {
    [ -z "$diff" ] || diff="$diff$newline"
    diff="$diff-$1: $2$newline+$1: $3"
}

# Whether something is as declared: what, what is there, what is declared.
same() {
    [ "$2" != "$3" ] || return 0
    changes "$1" "$2" "$3"
    return 1
}

# The resource is as declared now; $1 is what else to say of it.
settled() {
    if [ -n "$diff" ]; then
        changed=$((changed + 1))
        result changed "${1-}"
    else
        result unchanged "${1-}"
    fi
}

# The last line: what was counted.
finish() {
    printf '%s{"end":{"changed":%d,"failed":%d}}\n' "$mark" "$changed" "${1:-0}"
}

# The resource cannot be as declared: the step ends.
fail() {
    diff=''
    result failed "$1"
    finish 1
    exit 1
}

# Runs a command, and shows what it prints; gives its exit code, and keeps its words in $work/words.
try() {
    { "$@" 2>&1 </dev/null && echo 0 >"$work/code" || echo "$?" >"$work/code"; } | tee "$work/words"
    read -r code <"$work/code"
    return "$code"
}

# The last words of the command that ran; where it marks its errors, those.
words() {
    if grep -q '^E: ' "$work/words"; then grep '^E: ' "$work/words"; else tail -n 15 "$work/words"; fi | head -c 800
}

# Runs a command for the resource, which fails where the command does.
run() {
    code=0
    try "$@" || code=$?
    [ "$code" -eq 0 ] || fail "\`$1\` ended with exit code $code: $(words)"
}

# The resource needs a program: its name, and where it comes from.
need() {
    has "$1" || fail "the machine has no \`$1\`: install the package $2 in a step before"
}

# How two files differ, as lines that begin with - and +; by their sums where they are no text.
compare() {
    if has diff; then
        lines=$(LC_ALL=C diff -u "$1" "$2" 2>/dev/null | tail -n +3 | head -c 8000 | tr -d '\000')
        [ -z "$lines" ] || { printf '%s\n' "$lines"; return; }
    fi
    printf -- '-%s\n+%s\n' "$(cksum <"$1")" "$(cksum <"$2")"
}

# Puts a file in place of another, where they differ: source, destination, owner, mode, and `secret` where its
# bytes are not shown.
put() {
    if [ -d "$2" ] && [ ! -L "$2" ]; then fail "there is a folder of that name: $2"; fi
    old='' text=''
    folder=${2%/*}
    [ -d "${folder:-/}" ] || run mkdir -p "${folder:-/}"
    part=$(mktemp "$folder/.imgbake.XXXXXX" 2>"$work/words") || fail "$folder cannot be written to: $(words)"
    code=0
    try cp "$1" "$part" && try chown "$3" "$part" && try chmod "$4" "$part" || code=$?
    if [ "$code" -ne 0 ]; then
        rm -f "$part"
        fail "$2 cannot be written: $(words)"
    fi
    facts=$(stat -c '%u:%g %a' "$part")
    if [ -f "$2" ] && [ ! -L "$2" ]; then
        old=$(stat -c '%u:%g %a' "$2")
        if ! cmp -s "$2" "$part"; then
            if [ "${5-}" = secret ]; then text='-(not shown)
+(not shown)'; else text=$(compare "$2" "$part"); fi
        fi
    elif [ -L "$2" ]; then
        old="a link to $(readlink "$2")"
    elif [ -e "$2" ]; then
        rm -f "$part"
        fail "$2 is neither a file nor a link, and is not replaced"
    fi
    same "${6:-file}" "${old:-absent}" "$facts" || :
    [ -z "$text" ] || diff="${diff:+$diff$newline}$text"
    if [ "$old" = "$facts" ] && [ -z "$text" ]; then rm -f "$part"; else run mv -f "$part" "$2"; fi
}

# Puts a text into a file of root: text, destination, mode.
put_text() {
    printf '%s' "$1" >"$work/text"
    put "$work/text" "$2" 0:0 "$3"
}
