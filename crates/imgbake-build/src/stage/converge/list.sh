# Lists what a run may change, beside files: lines of kind, name and value, with tabs between.
if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f 'package\t${binary:Package}\t${Version} (${db:Status-Want}, ${db:Status-Status})\n'
elif command -v rpm >/dev/null; then
    rpm -qa --qf 'package\t%{NAME}.%{ARCH}\t%{VERSION}-%{RELEASE}\n'
elif command -v apk >/dev/null; then
    apk info -v 2>/dev/null | sed 's/^\(.*\)-\([^-]*-r[0-9]*\)$/package\t\1\t\2/'
fi
if command -v systemctl >/dev/null; then
    systemctl list-unit-files --no-legend --no-pager --plain 2>/dev/null |
        awk '{ printf "unit\t%s\t%s\n", $1, $2 }'
fi
# No password: its hash is told apart by its digest.
[ ! -r /etc/passwd ] || awk -F: '{ printf "user\t%s\t%s %s:%s %s %s\n", $1, $5, $3, $4, $6, $7 }' /etc/passwd
[ ! -r /etc/group ] || awk -F: '{ printf "group\t%s\t%s %s\n", $1, $3, $4 }' /etc/group
printf 'end\t\t\n'
