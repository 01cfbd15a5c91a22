{%- set nginx = {'port': 80, 'server_name': '_', 'root': '/var/www/site', 'page': ''} %}
{%- do nginx.update(salt['pillar.get']('nginx', {})) %}

nginx:
  pkg.installed:
    - install_recommends: False
    - refresh: {{ not salt['pkg.version']('nginx') }}
  service.running:
    - enable: True
    - reload: True
    - require:
      - pkg: nginx
    - watch:
      - file: /etc/nginx/sites-available/site
      - file: /etc/nginx/sites-enabled/site
      - file: /etc/nginx/sites-enabled/default

{{ nginx.root }}:
  file.directory:
    - mode: '0755'
    - makedirs: True
{% if nginx.page %}
{{ nginx.root }}/index.html:
  file.managed:
    - contents: {{ nginx.page | yaml_dquote }}
    - mode: '0644'
    - require:
      - file: {{ nginx.root }}
{% endif %}
/etc/nginx/sites-available/site:
  file.managed:
    - source: salt://nginx/site.conf.jinja
    - template: jinja
    - context: {{ nginx | json }}
    - mode: '0644'
    - require:
      - pkg: nginx

/etc/nginx/sites-enabled/site:
  file.symlink:
    - target: /etc/nginx/sites-available/site
    - require:
      - file: /etc/nginx/sites-available/site

/etc/nginx/sites-enabled/default:
  file.absent:
    - require:
      - pkg: nginx
