# Run by imgbake in a machine that goes on from its saved state. stdin: this script, then the time.
# One function: the shell has read all of it before it runs, so that `read` reads what comes after.
wake() {
    set -e
    # No command but the one that asks for it reads the time.
    exec 3<&0 </dev/null
    export LC_ALL=C

    # 64 bytes, credited in full, and the generator reseeded with them now.
    export ENTROPY=@ENTROPY@
    if command -v perl >/dev/null; then
        perl -e '
            my $bytes = pack("H*", $ENV{ENTROPY});
            open(my $random, "+<", "/dev/random") or die "/dev/random: $!\n";
            my $gift = pack("ii", 8 * length $bytes, length $bytes) . $bytes;
            ioctl($random, 0x40085203, $gift) or die "RNDADDENTROPY: $!\n";
            ioctl($random, 0x5207, 0) or die "RNDRESEEDCRNG: $!\n";'
    else
        python3 -c '
import fcntl, os, struct
data = bytes.fromhex(os.environ["ENTROPY"])
with open("/dev/random", "rb+", buffering=0) as random:
    fcntl.ioctl(random, 0x40085203, struct.pack("ii", 8 * len(data), len(data)) + data)
    fcntl.ioctl(random, 0x5207, 0)'
    fi
    unset ENTROPY

    # The ssh sessions of the build that saved the machine: every sshd that is no ancestor of this shell.
    ours=' '
    pid=$$
    while [ "${pid:-0}" -gt 1 ]; do
        ours="$ours$pid "
        while read -r key parent; do [ "$key" != PPid: ] || break; done <"/proc/$pid/status"
        pid=$parent
    done
    for dir in /proc/[0-9]*; do
        { read -r name <"$dir/comm"; } 2>/dev/null || continue
        case $name in sshd | sshd-session | sshd-auth) ;; *) continue ;; esac
        pid=${dir#/proc/}
        case $ours in *" $pid "*) ;; *) kill "$pid" 2>/dev/null || : ;; esac
    done

    # The clock stood still while the machine was away. What waits for its time must not start now, in
    # the middle of a build: an image's own first boot starts its timers again.
    if [ -d /run/systemd/system ]; then
        systemctl stop '*.timer' || :
    fi
    echo '@READY@'
    read -r exact rounded <&3
    date -s "@$exact" >/dev/null 2>&1 || date -s "@$rounded" >/dev/null
    echo "clock $(date +%s)"
}
wake
exit
