# @summary The machine's figures for Prometheus: node-exporter from the distribution.
#
# @param listen  where it listens
# @param args    further arguments of prometheus-node-exporter
class node_agent (
  String[1]        $listen = ':9100',
  Array[String[1]] $args   = [],
) {
  distribution::package { 'prometheus-node-exporter': }
  -> file { '/etc/default/prometheus-node-exporter':
    content => "ARGS=\"${join(["--web.listen-address=${listen}"] + $args, ' ')}\"\n",
    mode    => '0644',
  }
  ~> service { 'prometheus-node-exporter':
    ensure => running,
    enable => true,
  }
}
