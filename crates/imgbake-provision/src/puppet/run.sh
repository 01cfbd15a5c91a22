# Finds Puppet, and runs it. Variables: `folder`, the step's; `puppet`, the program, or nothing.
run=${mark% }
# Puppet gives what it starts a session of its own: a signal to the group does not reach that.
end() {
	trap '' HUP INT PIPE TERM
	for at in $(grep -slzx "IMGBAKE_RUN=$run" /proc/[0-9]*/environ); do
		at=${at#/proc/}
		kill -KILL "${at%/environ}" 2>/dev/null || :
	done
	exit 143
}
# PIPE as well: what the shell says of an ended program may have no reader any more.
trap end HUP INT PIPE TERM
[ -n "$puppet" ] || puppet=$(command -v puppet) || puppet=/opt/puppetlabs/bin/puppet
command -v "$puppet" >/dev/null || { echo "${mark}missing"; exit 127; }
# In the background: a shell that waits for a program in the foreground takes no signal.
run_puppet() {
	env "IMGBAKE_RUN=$run" "$puppet" "$@" &
	wait "$!"
}
# config SETTING ARGUMENTS…: a setting's value. Not every argument of a run is one of `puppet config`.
config() {
	"$puppet" config print "$@" 2>/dev/null || "$puppet" config print "$1" 2>/dev/null || :
}
results() {
	[ ! -f "$folder/results" ] || sed "s/^/$mark/" "$folder/results"
}
