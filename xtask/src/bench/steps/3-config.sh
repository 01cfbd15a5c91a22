#!/bin/sh
# The web server's site and the application's settings, from a template.
set -eu
workers=$(nproc)
cat > /etc/nginx/sites-available/app <<SITE
server {
  listen 80 default_server;
  root /srv/app/public;
  location /health { return 200 "ok @REVISION@"; }
}
SITE
rm -f /etc/nginx/sites-enabled/default
ln -s ../sites-available/app /etc/nginx/sites-enabled/app
cat > /etc/app/app.conf <<CONF
revision = @REVISION@
workers = $workers
data = /var/lib/app
CONF
nginx -t -q
systemctl reload nginx
