# Lists the files of all disks that are mounted, each as a record that begins with byte 2: mode in hexadecimal, owner,
# size, links, seconds of its last change, number of a device, name. Then the time at which the list was begun.
began=$(date +%s)
set -- /
while read -r device at rest; do
    # Blanks in the name are written as \040 and the like there.
    case $device in /dev/*) [ "$at" = / ] || set -- "$@" "$(printf '%b' "$at")" ;; esac
done </proc/mounts
code=0
find "$@" -xdev -exec stat -c "$(printf '\002')%f %u:%g %s %h %Z %t:%T %n" {} + 2>/dev/null || code=$?
# A file that went away meanwhile is 1.
[ "$code" -le 1 ] || exit "$code"
printf '\002began %s\n' "$began"
