# Takes environment and script from standard input and runs the script.
# Arguments: bytes in all, of environment, of script; what its processes are found by; a folder that goes where the host
# gives up, or nothing; the folder to start in; the interpreter's words.
total=$1 env=$2 script=$3 run=$4 folder=$5 workdir=$6
shift 6
mask=$(umask)
umask 077
# A login over ssh may lack the administrator's programs.
case ":$PATH:" in *:/usr/sbin:*) ;; *) PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin" ;; esac
export PATH
# Programs print one language, whatever the image's is; the step's own environment may name another.
for dir in /usr/lib/locale/C.utf8 /usr/lib/locale/C.UTF-8; do [ ! -d "$dir" ] || export LC_ALL=C.UTF-8; done
# In memory where it can be.
for base in /run /dev/shm /tmp; do dir=$(mktemp -d "$base/imgbake.XXXXXX" 2>/dev/null) && break; done
[ -d "$dir" ] || { echo 'imgbake: no folder can be made in /run, /dev/shm or /tmp' >&2; exit 125; }
trap 'rm -rf "$dir"' EXIT
# The step's next run is not found by the name of this one.
run=$run.${dir##*.}
# PIPE as well: what a shell says of an ended child may have no reader any more.
trap 'exit 143' HUP INT PIPE TERM
exec 3<&0 </dev/null
head -c "$total" <&3 >"$dir/all"
# The step's next run may have a folder of the same path.
[ -z "$folder" ] || printf '%s' "$run" 2>/dev/null >"$folder/.run"
[ "$(wc -c <"$dir/all")" -eq "$total" ] || { echo 'imgbake: the script did not come whole' >&2; exit 125; }
head -c "$env" "$dir/all" >"$dir/env"
tail -c "$script" "$dir/all" >"$dir/script"
rm -f "$dir/all"
set -- "$workdir" "$@" "$dir/script"
# The environment may set any name: from there on, only the positional parameters count.
( exec 3<&-; umask "$mask"; export IMGBAKE_RUN="$run"; . "$dir/env"; cd -- "$1" && shift && exec "$@" ) </dev/null &
child=$!
# Standard input ends early: the host gave up. All of it is ended, also what left the process group: first as it likes
# to be ended.
(
    read -r _ <&3
    trap '' HUP INT PIPE TERM
    kill -TERM 0
    for signal in TERM TERM KILL KILL; do
        found=
        for file in /proc/[0-9]*/environ; do
            # Zero bytes are left out: what stands between them is one line.
            while IFS= read -r line || [ -n "$line" ]; do
                case $line in *"IMGBAKE_RUN=$run"*) ;; *) continue ;; esac
                file=${file#/proc/}
                found="$found ${file%/environ}"
                break
            done <"$file"
        done
        [ -n "$found" ] || break
        kill "-$signal" $found
        sleep 1
    done
    if [ -n "$folder" ] && [ "$(cat "$folder/.run")" = "$run" ]; then
        rm -rf "$folder"
        rmdir "${folder%/*}"
    fi
) >/dev/null 2>&1 &
watch=$!
wait "$child"
code=$?
# The watch must not act on its own end.
exec 2>/dev/null
kill -KILL "$watch"
exit "$code"
