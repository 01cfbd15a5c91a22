#!/bin/sh
# The application's user, an operators' group, and the folders that they share.
set -eu
useradd --system --user-group --home-dir /srv/app --shell /usr/sbin/nologin app
groupadd --system operators
useradd --create-home --groups operators --shell /bin/bash oncall
install -d -o app -g app -m 0750 /srv/app /var/lib/app
install -d -o root -g operators -m 2775 /etc/app
echo '%operators ALL=(root) NOPASSWD: /usr/bin/systemctl restart app' > /etc/sudoers.d/operators
chmod 440 /etc/sudoers.d/operators
visudo -cq
# revision @REVISION@
