# The machine's own keys and certificates come along, and stay in memory with what the run adds: no image has them.
ssl=$folder/ssl
if [ ! -d "$ssl" ]; then
	mkdir -m 0700 "$ssl"
	case $ssldir in
	/?*)
		if [ -d "$ssldir" ]; then
			cp -a "$ssldir/." "$ssl"
			find "$ssldir" -mindepth 1 -delete
		fi
		;;
	esac
fi
code=0
run_puppet "$@" || code=$?
if [ -s "$folder/report.yaml" ]; then
	run_puppet imgbake_results --libdir "$folder/lib" --color=false || :
fi
results
exit "$code"
