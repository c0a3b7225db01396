#!/usr/bin/env bash
# Installs what a goal of the Makefile needs and says what it installs. Debian's
# packages by apt-get (with sudo when not root), Python's into .venv, Node's into
# node_modules.
#
#   scripts/setup.sh demo | test | bench
#   scripts/setup.sh check-libraries LIBRARY ...    for plain `make`: says what is missing
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}

build_packages=(gcc make pkg-config libc6-dev libevent-dev libhttp-parser-dev libyaml-dev
	libcurl4-openssl-dev libpcre2-dev zlib1g-dev libssl-dev)
# Only to be compared with.
bench_packages=(nginx-light libnginx-mod-nchan)
test_packages=(valgrind libcmocka-dev libwslay-dev chromium curl clang-format clang-tidy cppcheck)

say() {
	printf 'setup: %s\n' "$*"
}

has_package() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs those of the named packages that are missing.
install_packages() {
	local missing=() name sudo=()

	for name in "$@"; do
		has_package "$name" || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null; then
		say "missing: ${missing[*]} (Debian's names); there is no apt-get here to install them" >&2
		exit 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		if ! command -v sudo >/dev/null; then
			say "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}" >&2
			exit 1
		fi
		sudo=(sudo)
	fi
	say "installing Debian packages: ${missing[*]}"
	"${sudo[@]}" apt-get update -qq
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# A virtual environment with what the arguments name, as pip install takes it.
install_python() {
	if ! command -v "$PYTHON" >/dev/null || ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
		install_packages python3 python3-venv
	fi
	if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		say "$PYTHON is $("$PYTHON" --version); Python 3.11 or newer is needed (PYTHON=...)" >&2
		exit 1
	fi
	if [ ! -x .venv/bin/python ]; then
		say "making .venv with $("$PYTHON" --version)"
		"$PYTHON" -m venv .venv
	fi
	say "installing Python packages into .venv: $*"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
}

# What the package itself depends on, from pyproject.toml.
python_dependencies() {
	"$PYTHON" - <<'PY'
import tomllib

with open("pyproject.toml", "rb") as f:
    print(*tomllib.load(f)["project"]["dependencies"], sep="\n")
PY
}

# Whether node_modules has all that the lock file names, as it names it.
has_node_packages() {
	node - <<'JS'
const { readFileSync } = require('fs');
const packages = (file) => JSON.parse(readFileSync(file, 'utf8')).packages;
try {
  const there = packages('node_modules/.package-lock.json');
  const missing = Object.entries(packages('package-lock.json')).filter(([name, wanted]) =>
    name !== '' && !wanted.optional && there[name]?.version !== wanted.version);
  process.exitCode = missing.length > 0 ? 1 : 0;
} catch {
  process.exitCode = 1;
}
JS
}

install_node() {
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		install_packages nodejs npm
	fi
	# npm ci empties node_modules first, from under whatever runs from it.
	! has_node_packages || return 0
	say "installing Node packages into node_modules (npm ci)"
	npm ci --silent --no-audit --no-fund
}

case "${1:-}" in
demo)
	install_packages "${build_packages[@]}"
	mapfile -t dependencies < <(python_dependencies)
	install_python "${dependencies[@]}"
	;;
test)
	install_packages "${build_packages[@]}" "${test_packages[@]}"
	install_python -r tests/requirements.txt
	install_node
	;;
bench)
	install_packages "${build_packages[@]}"
	if ! has_package nginx-light; then
		say "nginx-light starts a service of its own: systemctl disable --now nginx stops it"
	fi
	install_packages "${bench_packages[@]}"
	;;
check-libraries)
	shift
	missing=()
	if ! command -v pkg-config >/dev/null; then
		missing+=(pkg-config)
	else
		for library in "$@"; do
			pkg-config --exists "$library" || missing+=("$library")
		done
	fi
	[ -e /usr/include/http_parser.h ] || [ -e /usr/local/include/http_parser.h ] ||
		missing+=(http_parser.h)
	if [ ${#missing[@]} -gt 0 ]; then
		say "missing: ${missing[*]}" >&2
		say "on Debian: apt-get install ${build_packages[*]}" >&2
		say "(make demo and make test install these by themselves)" >&2
		exit 1
	fi
	;;
*)
	echo "usage: scripts/setup.sh demo | test | bench | check-libraries LIBRARY ..." >&2
	exit 2
	;;
esac
