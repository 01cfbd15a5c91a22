# Finds the tool, and shows its results. Before this come $FOLDERS, where it may be beside the folders in PATH, and
# $PROGRAMS, its names, one a line: `tool` is the first of them that there is.
PATH="$PATH:$FOLDERS"
tool=$(printf '%s\n' "$PROGRAMS" | while IFS= read -r one; do
	if command -v "$one" >/dev/null 2>&1; then printf '%s\n' "$one"; break; fi
done)
[ -n "$tool" ] || { echo "${mark}missing"; exit 127; }
# results FILE: each of its lines is a result. The tool's exit code counts, whether the file can be read or not.
results() {
	[ ! -f "$1" ] || sed "s/^/$mark/" "$1" || :
}
