# Common functions of the native steps, for any POSIX shell run with -e. $mark begins each result.
# Operands follow `--` wherever one may begin with a dash.
: "${DEBIAN_FRONTEND=noninteractive}" "${APT_LISTCHANGES_FRONTEND=none}" "${NEEDRESTART_SUSPEND=1}"
export DEBIAN_FRONTEND APT_LISTCHANGES_FRONTEND NEEDRESTART_SUSPEND
umask 022
changed=0
# In the folder that goes with the script, however it ends. $stage is on the file system of a file that is replaced.
work=$(mktemp -d "${0%/*}/work.XXXXXX")
stage=''
trap 'rm -rf "$work"; [ -z "$stage" ] || rm -rf "$stage"' EXIT
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

# Reports that the resource is as declared now; $1 is a message.
finish_resource() {
    if [ -n "$diff" ]; then
        changed=$((changed + 1))
        result changed "${1-}"
    else
        result unchanged "${1-}"
    fi
}

# The last result: what was counted.
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

# Runs a command, and shows what it prints; gives its exit code, and keeps its output in $work/output.
try() {
    { "$@" 2>&1 </dev/null && echo 0 >"$work/code" || echo "$?" >"$work/code"; } | tee "$work/output"
    read -r code <"$work/code"
    return "$code"
}

# The last lines of the command that ran; where it marks its errors, those.
last_lines() {
    if grep -q '^E: ' "$work/output"; then grep '^E: ' "$work/output"; else tail -n 15 "$work/output"; fi | head -c 800
}

# Runs a command for the resource, which fails where the command does.
run() {
    code=0
    try "$@" || code=$?
    [ "$code" -eq 0 ] || fail "\`$1\` ended with exit code $code: $(last_lines)"
}

# The resource needs a program: its name, and where it comes from.
need() {
    has "$1" || fail "the machine has no \`$1\`: install the package $2 in a step before"
}

# A file in one line: its size and digest.
sum_up() {
    printf '%s bytes, SHA-256 %s\n' "$(wc -c <"$1")" "$(sha256sum <"$1" | cut -c 1-12)"
}

# How two files differ, as lines that begin with - and +; by size and digest where they are no text.
compare() {
    if has diff; then
        lines=$(LC_ALL=C diff -u "$1" "$2" 2>/dev/null | tail -n +3 | head -c 8000 | tr -d '\000')
        [ -z "$lines" ] || { printf '%s\n' "$lines"; return; }
    fi
    printf -- '-%s\n+%s\n' "$(sum_up "$1")" "$(sum_up "$2")"
}

# Owner and permissions of a file, as numbers: `0:0 644`.
facts() {
    stat -c '%u:%g %a' "$1"
}

# Sets exactly these permissions: with fewer than five digits, chmod keeps a folder's set-id bits.
set_mode() {
    run chmod "00$1" "$2"
}

# Whether every user may read a file with these facts.
is_public() {
    case $1 in *[4567]) return 0 ;; esac
    return 1
}

# Makes a folder of the step's own, $stage, on the file system of a folder and as near to its root as can be: what
# watches a folder such as conf.d sees no half-written file.
make_stage() {
    top=$1
    device=$(stat -c %d "$top")
    while [ -n "${top%/}" ]; do
        parent=${top%/*}
        [ "$(stat -c %d "${parent:-/}")" = "$device" ] || break
        top=${parent:-/}
    done
    for base in "$top" "$1"; do
        ! stage=$(mktemp -d "${base%/}/.imgbake.XXXXXX" 2>"$work/output") || return 0
    done
    stage=''
    fail "$1 cannot be written to: $(last_lines)"
}

# Puts a file in place of another, where they differ: source, destination, owner, mode, and `secret` where its
# bytes are not shown; nor are those of a file that some users may not read.
put() {
    if [ -d "$2" ] && [ ! -L "$2" ]; then fail "there is a folder of that name: $2"; fi
    old='' text=''
    folder=${2%/*}
    folder=${folder:-/}
    # Parents that are missing are root's, with 755.
    [ -d "$folder" ] || run mkdir -p "$folder"
    new=$work/new
    code=0
    try cp "$1" "$new" && try chown "$3" "$new" && try chmod "00$4" "$new" || code=$?
    [ "$code" -eq 0 ] || fail "$2 cannot be written: $(last_lines)"
    facts=$(facts "$new")
    if [ -f "$2" ] && [ ! -L "$2" ]; then
        old=$(facts "$2")
        if ! cmp -s "$2" "$new"; then
            if [ "${5-}" != secret ] && is_public "$old" && is_public "$facts"; then
                text=$(compare "$2" "$new")
            else
                text="-(not shown)$newline+(not shown)"
            fi
        fi
    elif [ -L "$2" ]; then
        old="a link to $(readlink "$2")"
    elif [ -e "$2" ]; then
        fail "$2 is neither a file nor a link, and is not replaced"
    fi
    same "${6:-file}" "${old:-absent}" "$facts" || :
    [ -z "$text" ] || diff="${diff:+$diff$newline}$text"
    if [ "$old" != "$facts" ] || [ -n "$text" ]; then replace "$new" "$2" "$3" "$4"; fi
    rm -f "$new"
}

# Puts a copy of a file in place of another at once: source, destination, owner, mode.
replace() {
    make_stage "$folder"
    code=0
    try cp "$1" "$stage/new" && try chown "$3" "$stage/new" && try chmod "00$4" "$stage/new" &&
        try mv -f "$stage/new" "$2" || code=$?
    rm -rf "$stage"
    stage=''
    [ "$code" -eq 0 ] || fail "$2 cannot be written: $(last_lines)"
    # It came from another folder, whose label it may have.
    if has restorecon; then restorecon "$2" 2>/dev/null || :; fi
}

# Puts a text into a file of root: text, destination, mode.
put_text() {
    printf '%s' "$1" >"$work/text"
    put "$work/text" "$2" 0:0 "$3"
}
