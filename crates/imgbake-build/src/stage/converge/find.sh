# Lists the files of all disks that are mounted, each as a record that begins with byte 2: mode in hexadecimal, owner,
# size, links, seconds of its last change, name. Then the time at which the list was begun.
began=$(date +%s)
roots=/
while read -r device at rest; do
    case $device in /dev/*) [ "$at" = / ] || roots="$roots $at" ;; esac
done </proc/mounts
find $roots -xdev -exec stat -c "$(printf '\002')%f %u:%g %s %h %Z %n" {} + 2>/dev/null || :
printf '\002began %s\n' "$began"
