# Sourced by the other scripts: where things live, and how a missing need is told.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# One line that says what is missing and, in brackets, what to do about it.
die() {
  printf 'error: %s%s\n' "$1" "${2:+ ($2)}" >&2
  exit 1
}

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
[ -t 2 ] || say() { printf '%s\n' "$*" >&2; }

# Intermediate builds and the unpacked libtorch are shared by every clone of one user, so that
# a second clone, or CI on a warm machine, does not compile polars again. What is built in the end
# lies in each clone's own target/, so that no clone ever runs the binary of another.
cache_folder() {
  if [ -n "${KRAMMERTI_CACHE:-}" ]; then
    printf '%s\n' "$KRAMMERTI_CACHE"
  elif [ -n "${XDG_CACHE_HOME:-}" ]; then
    printf '%s\n' "$XDG_CACHE_HOME/krammerti"
  elif [ -n "${HOME:-}" ]; then
    printf '%s\n' "$HOME/.cache/krammerti"
  else
    printf '%s\n' "$root/.cache"
  fi
}
cache=$(cache_folder)

export CARGO_BUILD_BUILD_DIR=${CARGO_BUILD_BUILD_DIR:-$cache/target}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

# claim_builds: one clone builds at a time. Cargo knows our own packages by their place within the
# clone and by file times, so it would take what another clone built last for ours: then our
# sources are made newer. Holds until the script ends, or `exec 8>&-`.
claim_builds() {
  local stamp=$CARGO_BUILD_BUILD_DIR/last-clone
  mkdir -p "$CARGO_BUILD_BUILD_DIR"
  exec 8>"$CARGO_BUILD_BUILD_DIR/clone.lock"
  if ! flock -n 8; then
    say "waiting for a build in another clone"
    flock 8
  fi
  if [ "$(cat "$stamp" 2>/dev/null)" != "$root" ]; then
    find "$root"/*/ -name target -prune -o -name '*.rs' -exec touch {} +
    printf '%s\n' "$root" >"$stamp"
  fi
}

have() { command -v "$1" >/dev/null 2>&1; }

require_tools() {
  have git || die "git is not installed" "apt-get install git"
  have cargo || die "no Rust tool chain (cargo) on PATH" "install Rust 1.95 or newer with rustup"
  { have c++ || have g++ || have clang++; } ||
    die "no C++ compiler (c++, g++ or clang++) on PATH" "apt-get install g++"
  if [ -z "${LIBTORCH:-}" ]; then
    have python3 || die "python3 is not installed (it brings libtorch)" \
      "apt-get install python3 python3-pip, or set LIBTORCH to an unpacked libtorch 2.11.0"
    if [ -z "${LIBTORCH_USE_PYTORCH:-}" ] && [ ! -e "$root/.libtorch/lib/libtorch_cpu.so" ]; then
      python3 -m pip --version >/dev/null 2>&1 || die "pip is not installed (it brings libtorch)" \
        "apt-get install python3-pip, or set LIBTORCH to an unpacked libtorch 2.11.0"
    fi
  fi
}

# require_disk GB FOLDER: builds need room, and a full disk half-way is a poor message.
require_disk() {
  local need=$1 folder=$2 free
  mkdir -p "$folder"
  free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge "$need" ] || die "only $free GB free at $folder, $need GB are needed" \
    "free some space, or point KRAMMERTI_CACHE at a larger disk"
}

# Sets LIBTORCH for cargo, unless the host brings its own.
use_libtorch() {
  if [ -n "${LIBTORCH:-}" ] || [ "${LIBTORCH_USE_PYTORCH:-}" = 1 ]; then
    return
  fi
  "$root/scripts/setup"
  LIBTORCH=$(cd -P "$root/.libtorch" && pwd)
  export LIBTORCH
}
