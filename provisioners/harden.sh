#!/bin/sh
# What every node of a fleet wants: no passwords over ssh, and a core pattern that writes nothing.
set -eu
cat > /etc/ssh/sshd_config.d/10-imgbake.conf <<'CONF'
PasswordAuthentication no
PermitRootLogin prohibit-password
CONF
sshd -t
echo 'kernel.core_pattern = |/bin/false' > /etc/sysctl.d/50-imgbake.conf
