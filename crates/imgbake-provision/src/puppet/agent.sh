# The machine's own keys and certificates are used, and stay as they are: the run has copies of them. What it adds is in
# memory, so that no image has it.
[ "$report" != false ] || { echo "${mark}no-report"; exit 1; }
ssl=$folder/ssl
if [ ! -d "$ssl" ]; then
	mkdir -m 0700 "$ssl"
	case $ssldir in
	/?*) [ ! -d "$ssldir" ] || cp -a "$ssldir/." "$ssl" ;;
	esac
fi
code=0
run_puppet "$@" || code=$?
if [ -s "$folder/report.yaml" ]; then
	run_puppet imgbake_results --libdir "$folder/lib" --color=false || :
fi
results "$folder/results"
exit "$code"
