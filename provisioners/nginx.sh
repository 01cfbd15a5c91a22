#!/bin/sh
# nginx from the distribution, with one site.
#   NGINX_PORT         where it listens (80)
#   NGINX_SERVER_NAME  the names that the site answers to (_)
#   NGINX_ROOT         the folder of the site (/var/www/site)
#   NGINX_PAGE         the text of index.html; without it the files in NGINX_ROOT are another step's
set -eu
port=${NGINX_PORT:-80}
root=${NGINX_ROOT:-/var/www/site}

# A package that was removed is known to dpkg as well.
if [ "$(dpkg-query -W -f '${db:Status-Status}' nginx 2>/dev/null)" != installed ]; then
    export DEBIAN_FRONTEND=noninteractive
    # Lists that are younger than an hour are good.
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -cmin -60)" ] || apt-get -q update
    apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install nginx
fi
install -d -m 0755 "$root"
[ -z "${NGINX_PAGE:-}" ] || printf '%s' "$NGINX_PAGE" >"$root/index.html"
cat >/etc/nginx/sites-available/site <<SITE
server {
	listen $port default_server;
	listen [::]:$port default_server;
	server_name ${NGINX_SERVER_NAME:-_};
	root $root;
	index index.html;
	server_tokens off;

	location / {
		try_files \$uri \$uri/ =404;
	}
}
SITE
ln -sfn /etc/nginx/sites-available/site /etc/nginx/sites-enabled/site
rm -f /etc/nginx/sites-enabled/default
nginx -t -q
systemctl enable --quiet nginx
systemctl reload-or-restart nginx
