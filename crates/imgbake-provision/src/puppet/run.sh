# Finds Puppet, and runs it. Variables: `folder`, the step's; `puppet`, the program, or nothing.
[ -n "$puppet" ] || puppet=$(command -v puppet) || puppet=/opt/puppetlabs/bin/puppet
command -v "$puppet" >/dev/null || { echo "${mark}missing"; exit 127; }
run_puppet() {
	"$puppet" "$@"
}
# config SETTING ARGUMENTS…: a setting's value. Not every argument of a run is one of `puppet config`.
config() {
	"$puppet" config print "$@" 2>/dev/null || "$puppet" config print "$1" 2>/dev/null || :
}
results() {
	[ ! -f "$folder/results" ] || sed "s/^/$mark/" "$folder/results"
}
