#!/bin/sh
# What site.yml does, as a script that may be run twice.
# revision @REVISION@
set -eu
app=shop
port=8080
# put PATH MODE OWNER: standard input, where it is not there yet.
put() {
  new=$(mktemp)
  cat > "$new"
  if ! cmp -s "$new" "$1"; then cp "$new" "$1"; fi
  rm "$new"
  chmod "$2" "$1"
  chown "$3" "$1"
}
dpkg-query -W nginx-light jq rsync >/dev/null
getent group $app >/dev/null || groupadd --system $app
getent passwd $app >/dev/null ||
  useradd --system --gid $app --home-dir /srv/$app --no-create-home --shell /usr/sbin/nologin $app
install -d -o root -g $app -m 0750 /etc/$app
install -d -o $app -g $app -m 0755 /srv/$app /srv/$app/public /srv/$app/log
printf 'name = %s\nlisten = 127.0.0.1:%s\nworkers = %s\n' $app $port "$(nproc)" |
  put /etc/$app/app.conf 0640 root:$app
echo "<h1>$app</h1>" | put /srv/$app/public/index.html 0644 $app:$app
printf 'server {\n    listen 80;\n    root /srv/%s/public;\n}\n' $app |
  put /etc/nginx/sites-available/$app 0644 root:root
ln -sfn /etc/nginx/sites-available/$app /etc/nginx/sites-enabled/$app
rm -f /etc/nginx/sites-enabled/default
printf '%s soft nofile 65536\n%s hard nofile 65536\n' $app $app |
  put /etc/security/limits.d/$app.conf 0644 root:root
grep -q '^PasswordAuthentication no' /etc/ssh/sshd_config ||
  sed -i 's/^#\?PasswordAuthentication .*/PasswordAuthentication no/' /etc/ssh/sshd_config
printf 'net.core.somaxconn = 1024\nvm.swappiness = 10\n' | put /etc/sysctl.d/60-$app.conf 0644 root:root
ln -sfn /usr/share/zoneinfo/UTC /etc/localtime
echo "$app: changes by hand are lost" | put /etc/motd 0644 root:root
echo "/srv/$app/log/*.log { weekly rotate 4 missingok }" | put /etc/logrotate.d/$app 0644 root:root
echo "5 3 * * * root /usr/bin/find /srv/$app/log -mtime +30 -delete" | put /etc/cron.d/$app 0644 root:root
printf '[Unit]\nDescription=%s\n[Service]\nUser=%s\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' \
  $app $app | put /etc/systemd/system/$app.service 0644 root:root
systemctl is-enabled -q $app 2>/dev/null || systemctl enable -q $app
systemctl is-active -q nginx || systemctl start nginx
nginx -v 2>&1 | grep -q nginx/1.
