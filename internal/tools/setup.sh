#!/usr/bin/env bash
# Installs what building and testing rollwatch need and is not there yet; says
# nothing when nothing is missing.
#
#   setup.sh servers            Redis, PostgreSQL, PgBouncer and a C compiler, by apt
#   setup.sh node               BullMQ, by npm from its lock file
#   setup.sh tools [NAME...]    the pinned tools, built into the cache; all without NAME
#   setup.sh path NAME          where a tool's programs are
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rollwatch

# The tools: a folder with a go.mod of its own, the module that names the
# version, build tags, and what is built. Prometheus goes without its service
# discoveries, each of which is the client of a whole cloud.
tools() {
	cat <<-'TABLE'
		golangci-lint github.com/golangci/golangci-lint/v2 netgo cmd/golangci-lint
		prometheus github.com/prometheus/prometheus netgo,remove_all_sd cmd/prometheus cmd/promtool
		alertmanager github.com/prometheus/alertmanager netgo cmd/alertmanager
	TABLE
}

fail() {
	echo "setup: $*" >&2
	exit 1
}

has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }

servers() {
	local missing=()
	command -v redis-server >/dev/null || missing+=(redis-server)
	has_postgres || missing+=(postgresql)
	command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
	command -v "${CC:-gcc}" >/dev/null || missing+=(gcc libc6-dev) # the race detector is linked by it
	[ ${#missing[@]} -gt 0 ] || return 0

	command -v apt-get >/dev/null || fail "missing: ${missing[*]} (Debian's names). There is no apt here: install them by hand, they need not run"
	local as_root=()
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || fail "missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}"
		as_root=(sudo)
	fi
	echo "setup: installing ${missing[*]} by apt"
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive bash -euo pipefail -c "$(declare -f install_quietly)"'; install_quietly "$@"' setup "${missing[@]}"
}

# install_quietly installs packages without letting their services start: the
# tests run servers of their own. Debian asks /usr/sbin/policy-rc.d for leave.
install_quietly() {
	local policy=/usr/sbin/policy-rc.d log
	log=$(mktemp)
	if [ ! -e "$policy" ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } </dev/null >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		echo "setup: apt-get install $* failed (whole log: $log)" >&2
		exit 1
	fi
	rm -f "$log"
}

node() {
	local folder
	for folder in "$root"/internal/live/{node,saas}; do
		[ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ] || continue
		command -v npm >/dev/null || fail "missing: Node.js 20 or later, with npm"
		echo "setup: installing what ${folder##*/} needs by npm"
		npm --prefix "$folder" ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null
	done
}

# path prints where a tool's programs are, built or not.
path() {
	local name module version
	while read -r name module _; do
		[ "$name" = "$1" ] || continue
		version=$(awk -v module="$module" '$1 == module { print $2 }' "$root/internal/tools/$name/go.mod")
		echo "$cache/tools/$name-$version"
		return
	done < <(tools)
	fail "no tool $1"
}

build() {
	local name=$1 module=$2 tags=$3 target new
	shift 3
	target=$(path "$name")
	[ ! -d "$target" ] || return 0
	echo "setup: building $name into $target (once; some minutes)"
	mkdir -p "$cache/tools"
	new=$(mktemp -d "$target.XXXX")
	go -C "$root/internal/tools/$name" build -trimpath -buildvcs=false -tags="$tags" -ldflags='-s -w' -o "$new/" "${@/#/$module/}" </dev/null
	mv -T "$new" "$target" 2>/dev/null || rm -rf "$new" # somebody else was faster
}

build_tools() {
	local wanted=" $* " line
	while read -r -a line; do
		[[ $wanted == "  " || $wanted == *" ${line[0]} "* ]] || continue
		build "${line[@]}"
	done < <(tools)
}

case ${1:-} in
servers | node) "$1" ;;
tools) shift && build_tools "$@" ;;
path) path "${2:-}" ;;
*) fail "usage: setup.sh servers | node | tools [NAME...] | path NAME" ;;
esac
