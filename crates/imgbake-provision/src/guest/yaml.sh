# read_yaml FILE PROGRAM: ends with 65 and says why where the file is no YAML. The reader is that of PROGRAM, which is
# written in Python; without one, the program itself reads it later.
read_yaml() {
	_python=$(sed -n '1s/^#! *\([^ ]*python[^ ]*\).*/\1/p' "$2" 2>/dev/null || :)
	"${_python:-python3}" -c 'import sys
try:
    import yaml
except ImportError:
    sys.exit(0)
try:
    yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
except yaml.YAMLError as error:
    print(error, file=sys.stderr)
    sys.exit(65)' "$1" || [ $? != 65 ] || exit 65
}
