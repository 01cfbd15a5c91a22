# Runs Puppet. Variables: `folder`, the step's; `tool`, the program.
run_puppet() {
	"$tool" "$@"
}
# config SETTING ARGUMENTS…: a setting's value. Not every argument of a run is one of `puppet config`.
config() {
	"$tool" config print "$@" 2>/dev/null || "$tool" config print "$1" 2>/dev/null || :
}
