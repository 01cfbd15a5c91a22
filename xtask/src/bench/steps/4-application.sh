#!/bin/sh
# An application of 50 MB, as a release put in place, with its unit.
set -eu
release=/srv/app/releases/1.0
install -d -o app -g app "$release/assets" /srv/app/public
for part in 0 1 2 3 4 5 6 7 8 9; do
  head -c 5000000 /dev/urandom > "$release/assets/$part"
done
(cd "$release" && sha256sum assets/* > SHA256SUMS)
ln -sfn "$release" /srv/app/current
echo '<h1>app</h1>' > /srv/app/public/index.html
chown -R app:app /srv/app
cat > /etc/systemd/system/app.service <<UNIT
[Unit]
Description=The application
After=network.target
[Service]
User=app
ExecStart=/usr/bin/sha256sum -c SHA256SUMS
WorkingDirectory=/srv/app/current
Type=oneshot
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl -q enable app
# revision @REVISION@
