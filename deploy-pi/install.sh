#!/usr/bin/env bash
# Put edge-assistant on a board, or take it off: see `install.sh --help` and docs/field-guide.md.
#
#   /opt/edge-assistant/versions/ID/    a version, whole: its environment, units, guides, this script
#   /opt/edge-assistant/current         -> versions/ID; switched in one step, so that a cut of power leaves the old or the new
#   /opt/edge-assistant/previous        -> versions/ID; where `rollback` goes
#   /opt/edge-assistant/packages, groups  Debian packages and groups that were not there before; uninstall removes them
#   /etc/edge-assistant/                config.toml and release-key.pub: yours, kept by upgrades
#   /var/lib/edge-assistant/            state, and models/
#
# Everything that can fail for a person's reason is found out before the first change. Exit status: 0 done, 1 it broke, 2 it is
# refused and nothing was changed.
set -euo pipefail
umask 022
export LC_ALL=C

readonly NAME=edge-assistant NAMESPACE=edge-assistant-bundle
readonly USAGE="usage: install.sh [install|upgrade] --offline [BUNDLE] [--key FILE] [--dry-run]
       install.sh [install|upgrade] --network [--dry-run]
       install.sh rollback | status | uninstall [--keep-settings]  [--dry-run]

  --offline [BUNDLE]  from a bundle that make-bundle made (the folder this script is in); no network is used
  --network           from a checkout of the repository, and the package archives; after that no network is used
  --key FILE          your own copy of the public key that the bundle is signed with (/etc/edge-assistant/release-key.pub, or
                      edge-assistant.pub on the card's boot partition)
  --keep-settings     uninstall leaves /etc/edge-assistant and /var/lib/edge-assistant
  --root DIR          install below DIR: no user, no Debian packages, no service is started
  --dry-run           check everything, change nothing, say what would be done"

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
verb=install source="" bundle="" key="" root="" dry="" keep=""

say() { printf '%s\n' "$*"; }
refuse() { printf '%s: %s\n' "$NAME" "$*" >&2; exit 2; }
broke() { printf '%s: %s\n' "$NAME" "$*" >&2; exit 1; }

# Do it and say so; or only say so.
act() {
  local what=$1
  shift
  if [ -n "$dry" ]; then say "would $what"; else say "$what"; "$@"; fi
}

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      install | upgrade | rollback | status | uninstall) verb=$1 ;;
      --offline)
        source=offline
        if [ $# -gt 1 ] && [ "${2#-}" = "$2" ]; then bundle=$2; shift; fi ;;
      --network) source=network ;;
      --key) [ $# -gt 1 ] || refuse "--key wants a file"; key=$2; shift ;;
      --root) [ $# -gt 1 ] || refuse "--root wants a folder"; root=$2; shift ;;
      --keep-settings) keep=yes ;;
      --dry-run) dry=yes ;;
      -h | --help) say "$USAGE"; exit 0 ;;
      *) refuse "unknown: $1; see install.sh --help" ;;
    esac
    shift
  done
  [ -z "$root" ] || { [ -d "$root" ] || refuse "there is no folder $root"; root=$(cd "$root" && pwd); }
  root=${root%/}
  opt=$root/opt/$NAME etc=$root/etc/$NAME state=$root/var/lib/$NAME cache=$root/var/cache/$NAME
  units=$root/etc/systemd/system bin=$root/usr/local/bin sbin=$root/usr/local/sbin doc=$root/usr/share/doc/$NAME sysusers=$root/usr/lib/sysusers.d
}

main() {
  parse "$@"
  [ -n "$root" ] || [ "$(id -u)" = 0 ] || [ "$verb" = status ] || [ -n "$dry" ] || refuse "only root can do this: sudo bash $0 …"
  scratch=$(mktemp -d)
  trap tidy EXIT
  trap 'exit 130' INT TERM HUP
  case $verb in
    install | upgrade) install_version ;;
    rollback) rollback ;;
    status) status ;;
    uninstall) uninstall ;;
  esac
}

tidy() {
  local left=$?
  rm -rf "$scratch"
  if [ -n "${building:-}" ] && [ ! -e "$building/complete" ]; then rm -rf "$building"; fi
  exit "$left"
}

# One at a time, without leaving a file behind.
lock() {
  [ -z "$dry" ] || return 0
  mkdir -p "$root/opt"
  exec 9<"$root/opt"
  flock --nonblock 9 || refuse "another installation is under way"
}

# Checks: nothing is changed here ----------------------------------------------------------------------------------------------

this_suite() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"'; }

field() { sed -n "s/^$1=//p" "$bundle/manifest"; }

find_key() {
  local place
  for place in "$key" "$etc/release-key.pub" "$root"/boot/firmware/$NAME.pub "$root"/boot/$NAME.pub; do
    if [ -n "$place" ] && [ -e "$place" ]; then printf '%s\n' "$place"; return; fi
    [ -z "$key" ] || refuse "there is no key $key"
  done
  refuse "no key to check the bundle with: --key FILE, with your own copy of the public key (not one from the stick)"
}

verify_signature() {
  local public
  public=$(find_key)
  cp "$public" "$scratch/key.pub" || refuse "$public cannot be read"
  case $(head -n1 "$scratch/key.pub") in
    "untrusted comment:"*)
      command -v minisign >/dev/null || refuse "minisign is missing, and the key is one of minisign's: apt install minisign"
      [ -f "$bundle/SHA256SUMS.minisig" ] || refuse "$bundle is not signed with minisign, but $public is a key of minisign's"
      minisign -V -q -p "$scratch/key.pub" -m "$bundle/SHA256SUMS" >/dev/null 2>&1 || refuse "$bundle is not signed by $public: nothing was changed" ;;
    ssh-* | ecdsa-* | sk-*)
      command -v ssh-keygen >/dev/null || refuse "ssh-keygen is missing: apt install openssh-client"
      [ -f "$bundle/SHA256SUMS.sig" ] || refuse "$bundle is not signed with an SSH key, but $public is one"
      printf '%s %s\n' "$NAME" "$(head -n1 "$scratch/key.pub")" >"$scratch/signers"
      ssh-keygen -Y verify -f "$scratch/signers" -I "$NAME" -n "$NAMESPACE" -s "$bundle/SHA256SUMS.sig" \
        <"$bundle/SHA256SUMS" >/dev/null 2>&1 || refuse "$bundle is not signed by $public: nothing was changed" ;;
    *) refuse "$public is neither an SSH nor a minisign public key" ;;
  esac
}

verify_sums() {
  local odd
  (cd "$bundle" && sha256sum --check --strict --quiet SHA256SUMS) >"$scratch/sums" 2>/dev/null ||
    refuse "$bundle is damaged or altered: $(head -n1 "$scratch/sums"); nothing was changed"
  odd=$(cd "$bundle" && find . ! -type d ! -type f | head -n1)
  [ -z "$odd" ] || refuse "$bundle has a link or device in it: $odd; nothing was changed"
  odd=$(cd "$bundle" && find . -type f ! -path ./SHA256SUMS ! -path ./SHA256SUMS.sig ! -path ./SHA256SUMS.minisig | sort | comm -23 - <(sed 's/^[0-9a-f]*  //' SHA256SUMS | sort) | head -n1)
  [ -z "$odd" ] || refuse "$bundle has a file that is not in its list: $odd; nothing was changed"
}

verify_machine() {
  local suite machine python
  command -v systemd-sysusers >/dev/null || [ -n "$root" ] || refuse "systemd is missing"
  [ "$(field name)" = "$NAME" ] || refuse "$bundle is a bundle of something else"
  suite=$(this_suite)
  machine=$(dpkg --print-architecture)
  python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || refuse "python3 is missing"
  [ "$suite/$machine/$python" = "$(field suite)/$(field architecture)/$(field python)" ] ||
    refuse "this bundle is for $(field suite) on $(field architecture) with Python $(field python), and this is $suite on $machine with Python $python"
}

# Models are large and outlive versions: only those that differ are taken.
new_models() {
  local model
  models=()
  for model in "$bundle"/models/*/; do
    [ ! -d "$model" ] || diff -rq "$model" "$state/models/$(basename "$model")" >/dev/null 2>&1 || models+=("${model%/}")
  done
}

verify_room() {
  local free need
  free=$(df --output=avail -k "$root/" | tail -n1)
  need=$(du -skc --apparent-size "${models[@]}" /dev/null | tail -n1 | cut -f1)
  need=$((need + $(field disk_kib)))
  [ "$free" -ge "$need" ] || refuse "$((need / 1024)) MiB of disk are needed, and $((free / 1024)) are free"
}

# As apt names its files: PACKAGE_VERSION_ARCHITECTURE.deb
package_of() {
  local name=${1##*/}
  printf '%s\n' "${name%%_*}"
}

# Of the bundle's Debian packages, those that this system lacks: apt itself must find nothing to object.
missing_debs() {
  local deb
  debs=()
  [ -z "$root" ] || return 0
  dpkg-query -W -f '${Package} ${db:Status-Status}\n' >"$scratch/here"
  for deb in "$bundle"/debs/*.deb; do
    [ ! -e "$deb" ] || grep -qxF "$(package_of "$deb") installed" "$scratch/here" || debs+=("$deb")
  done
  [ ${#debs[@]} = 0 ] || apt_local --simulate "${debs[@]}" >"$scratch/apt" 2>&1 ||
    refuse "the Debian packages do not fit this system: $(grep -m1 Depends: "$scratch/apt" || tail -n1 "$scratch/apt"); nothing was changed"
}

# apt, without any archive it could ask.
apt_local() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes -q --no-install-recommends --no-remove \
    -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$scratch" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

# Install ----------------------------------------------------------------------------------------------------------------------

install_version() {
  case $source in
    offline)
      bundle=${bundle:-$here}
      [ -f "$bundle/SHA256SUMS" ] || refuse "$bundle is no bundle: there is no SHA256SUMS in it"
      bundle=$(cd "$bundle" && pwd)
      say "checking $bundle"
      verify_signature
      verify_sums
      verify_machine
      new_models
      verify_room
      missing_debs
      id=$(field version)+$(sha256sum "$bundle/SHA256SUMS" | cut -c1-8) ;;
    network)
      checkout=$(cd "$here/.." && pwd)
      [ -f "$checkout/pyproject.toml" ] || refuse "--network wants a checkout of the repository around this script"
      network_prepare ;;
    *) refuse "from where? --offline [BUNDLE], or --network; see install.sh --help" ;;
  esac
  lock
  local version=$opt/versions/$id
  [ ${#debs[@]} = 0 ] || act "install ${#debs[@]} Debian packages" install_debs
  if [ ! -e "$version/complete" ]; then
    act "install version $id" build "$version"
  fi
  [ ${#models[@]} = 0 ] || act "take ${models[*]##*/} along" take_models
  act "make user, folders and settings" settle "$version"
  if [ "$(readlink "$opt/current" 2>/dev/null)" = "versions/$id" ]; then
    act "keep version $id, which is in use" activate
  else
    act "switch to version $id" switch_to "$id"
  fi
  act "remove versions older than the previous one" prune
  [ -n "$dry" ] || say "edge-assistant $id is installed; next: edge-assistant doctor"
}

# Packages are recorded first: an uninstallation after a cut of power must know of them.
install_debs() {
  local deb
  mkdir -p "$opt"
  for deb in "${debs[@]}"; do package_of "$deb"; done | sort -u - <(cat "$opt/packages" 2>/dev/null) >"$scratch/packages"
  cp "$scratch/packages" "$opt/packages"
  apt_local "${debs[@]}" >"$scratch/apt" 2>&1 || broke "apt: $(tail -n1 "$scratch/apt"); run this again"
}

build() {
  local version=$1 site question
  building=$version
  rm -rf "$version"
  mkdir -p "$version"
  if [ "$source" = network ]; then
    install -m 755 "$here/install.sh" "$version/install.sh"
    cp -r "$checkout/systemd" "$version/systemd"
    cp -r "$checkout/docs" "$version/doc"
    question=$checkout/assets/demo/timer.wav
    network_build "$version"
  else
    install -m 755 "$bundle/install.sh" "$version/install.sh"
    cp -r "$bundle/systemd" "$version/systemd"
    cp -r "$bundle/doc" "$version/doc"
    question=$bundle/check/timer.wav
    # pip needs no installation, only unpacking: so python3-venv, which must match Python to the letter, is not needed.
    python3 -m venv --without-pip "$version/venv"
    python3 -m zipfile -e "$(printf '%s\n' "$bundle"/wheels/pip-*.whl)" "$scratch/pip"
    PYTHONPATH=$scratch/pip "$version/venv/bin/python" -m pip --quiet --isolated --disable-pip-version-check install --no-index --no-deps \
      --no-compile --no-cache-dir --find-links "$bundle/wheels" --require-hashes --requirement "$bundle/wheels/requirements.txt" ||
      broke "pip could not install the wheels; the version in use is untouched"
  fi
  mkdir "$version/bin"
  ln -s ../venv/bin/edge-assistant "$version/bin/edge-assistant"
  site=$(printf '%s\n' "$version"/venv/lib/python3.*/site-packages)
  link_module "$site" lgpio
  # Ours is compiled now, and of the others what the question makes it load: the thousands that nobody loads take a small board minutes.
  "$version/venv/bin/python" -m compileall -q "$site/edge_assistant"
  try "$version" "$question"
  flush
  touch "$version/complete"
  flush
}

# Debian's module of a library that has no wheel, where it is installed.
link_module() {
  local file
  for file in /usr/lib/python3/dist-packages/{"$2".py,_"$2".*.so}; do
    if [ -z "$root" ] && [ -e "$file" ]; then ln -sf "$file" "$1/"; fi
  done
}

# A version that does not take the settings, or cannot answer a spoken question, is not switched to.
try() {
  local program=$1/bin/edge-assistant
  "$program" --version >"$scratch/answer" 2>&1 || broke "the new version does not start: $(tail -n1 "$scratch/answer")"
  if [ -e "$etc/config.toml" ]; then
    "$program" config check "$etc/config.toml" >"$scratch/answer" 2>&1 ||
      refuse "the new version does not take the settings: $(tail -n1 "$scratch/answer"); the version in use is untouched"
  fi
  [ -z "$root" ] || return 0
  HOME=$scratch XDG_CACHE_HOME=$scratch "$program" ask "$2" --model pocket --pace fast --quiet --say "$scratch/answer.wav" \
    >"$scratch/answer" 2>"$scratch/why" || broke "the new version does not answer: $(tail -n1 "$scratch/why"); the version in use is untouched"
  say "  asked for a timer, it says: $(tail -n1 "$scratch/answer")"
}

take_models() {
  local model to=$state/models
  for model in "${models[@]}"; do
    mkdir -p "$to"
    rm -rf "$to/.new"
    cp -r "$model" "$to/.new"
    flush
    rm -rf "${to:?}/$(basename "$model")"
    mv "$to/.new" "$to/$(basename "$model")"
  done
}

settle() {
  local version=$1
  mkdir -p "$etc" "$state" "$cache" "$bin" "$sbin" "$sysusers" "$(dirname "$doc")"
  if [ ! -e "$etc/config.toml" ]; then
    "$version/bin/edge-assistant" config default >"$scratch/config.toml" || broke "the new version has no settings to begin with"
    put "$scratch/config.toml" "$etc/config.toml"
  fi
  if [ "$source" = offline ] && ! cmp -s "$scratch/key.pub" "$etc/release-key.pub"; then put "$scratch/key.pub" "$etc/release-key.pub"; fi
  put "$version/systemd/sysusers.conf" "$sysusers/$NAME.conf"
  [ -n "$root" ] || make_user
  ln -sfn "/opt/$NAME/current/doc" "$doc"
  ln -sfn "/opt/$NAME/current/bin/edge-assistant" "$bin/edge-assistant"
  ln -sfn "/opt/$NAME/current/install.sh" "$sbin/edge-assistant-install"
}

make_user() {
  local group
  sed -n "s/^m $NAME //p" "$sysusers/$NAME.conf" | while read -r group; do
    getent group "$group" >/dev/null || printf '%s\n' "$group" >>"$opt/groups"
  done
  systemd-sysusers "$NAME.conf"
  chown "$NAME:$NAME" "$state" "$cache"
  chmod 700 "$state" "$cache"
}

# Onto the disk before the next step. Below --root that is the caller's.
flush() { [ -n "$root" ] || sync "$@"; }

# A file that is there whole or not at all.
put() {
  cp "$1" "$2.new"
  flush "$2.new"
  mv "$2.new" "$2"
}

point() {
  ln -sfn "$2" "$opt/.$1"
  mv -T "$opt/.$1" "$opt/$1"
}

running() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# Units follow the version in use.
activate() {
  local unit
  mkdir -p "$units"
  for unit in "$opt"/current/systemd/*.service; do put "$unit" "$units/$(basename "$unit")" || return 1; done
  flush
  [ -z "$root" ] && command -v systemctl >/dev/null || return 0
  systemctl --quiet enable "$NAME.service" || return 1
  ! running || { systemctl daemon-reload && systemctl restart "$NAME.service"; }
}

# It is ready as a service, or the one before is in use again.
switch_to() {
  local before earlier
  before=$(readlink "$opt/current" || true) earlier=$(readlink "$opt/previous" || true)
  [ -z "$before" ] || point previous "$before"
  point current "versions/$1"
  if activate; then return; fi
  [ -n "$before" ] || broke "the service does not start: journalctl -u $NAME"
  point current "$before"
  if [ -n "$earlier" ]; then point previous "$earlier"; else rm "$opt/previous"; fi
  activate || true
  broke "version $1 does not start as a service, and $(basename "$before") is in use again: journalctl -u $NAME"
}

prune() {
  local version kept
  kept=" $(readlink "$opt/current") $(readlink "$opt/previous" 2>/dev/null || true) "
  for version in "$opt"/versions/*; do
    case $kept in *" versions/$(basename "$version") "*) ;; *) rm -rf "$version" ;; esac
  done
}

# From the network -------------------------------------------------------------------------------------------------------------

network_prepare() {
  local suite version
  debs=() models=()
  suite=$(this_suite)
  lockfile=$here/locks/$suite.txt
  [ -f "$lockfile" ] || refuse "there is no $lockfile: edge-assistant is made for $(cd "$here/locks" && printf '%s ' *.txt | sed 's/\.txt//g')"
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$checkout/pyproject.toml" | head -n1)
  id=$version+$(cd "$checkout" && find edge_assistant assets/pocket/bundle systemd pyproject.toml "deploy-pi/locks/$suite.txt" -type f \
    ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-8)
  [ -n "$root" ] || dpkg-query -W python3 >/dev/null 2>&1 || refuse "python3 is missing"
}

network_build() {
  local version=$1 package wanted=(libespeak-ng1 libportaudio2 libspeexdsp1 alsa-utils python3-venv) new=()
  if [ -z "$root" ]; then
    for package in "${wanted[@]}"; do
      [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || new+=("$package")
    done
    if [ ${#new[@]} -gt 0 ]; then
      apt-get update -qq || broke "apt-get update: no package archive answers"
      DEBIAN_FRONTEND=noninteractive apt-get install --simulate --no-install-recommends "${new[@]}" | sed -n 's/^Inst \([^ ]*\).*/\1/p' |
        sort -u - <(cat "$opt/packages" 2>/dev/null) >"$scratch/packages"
      cp "$scratch/packages" "$opt/packages"
      DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends "${new[@]}" >"$scratch/apt" 2>&1 ||
        broke "apt: $(tail -n1 "$scratch/apt")"
    fi
  fi
  python3 -m venv "$version/venv"
  "$version/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: --require-hashes --requirement "$lockfile" ||
    broke "pip could not install the packages"
  "$version/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$checkout" || broke "pip could not install $checkout"
}

# The other verbs --------------------------------------------------------------------------------------------------------------

rollback() {
  local current previous
  current=$(readlink "$opt/current" 2>/dev/null) || refuse "nothing is installed"
  previous=$(readlink "$opt/previous" 2>/dev/null) || refuse "there is no previous version to go back to"
  [ -e "$opt/$previous/complete" ] || refuse "the previous version, $previous, is not whole"
  lock
  act "go back from ${current#versions/} to ${previous#versions/}" switch_to "${previous#versions/}"
}

status() {
  local version
  [ -e "$opt/current" ] || { say "edge-assistant is not installed"; return; }
  say "in use:   $(basename "$(readlink "$opt/current")")"
  version=$(readlink "$opt/previous" 2>/dev/null || true)
  say "previous: ${version:+$(basename "$version")}"
  ! running || say "service:  $(systemctl is-active "$NAME.service" || true)"
}

uninstall() {
  [ -d "$opt" ] || [ -d "$etc" ] || [ -d "$state" ] || { say "edge-assistant is not installed"; return; }
  lock
  act "stop and remove the service" remove_service
  [ -n "$root" ] || [ ! -s "$opt/packages" ] || act "remove the Debian packages that came with it" remove_packages
  if [ -z "$root" ] && [ -z "$keep" ] && getent passwd "$NAME" >/dev/null; then act "remove the user" remove_user; fi
  act "remove the program" rm -rf "$opt" "$bin/edge-assistant" "$sbin/edge-assistant-install" "$doc" "$sysusers/$NAME.conf" "$cache"
  [ -n "$keep" ] || act "remove settings, state and models" rm -rf "$etc" "$state"
  [ -z "$root" ] || (cd "$root" && rmdir --ignore-fail-on-non-empty -p \
    opt etc/systemd/system usr/local/bin usr/local/sbin usr/share/doc usr/lib/sysusers.d var/lib var/cache 2>/dev/null) || true
}

remove_service() {
  local unit
  if [ -z "$root" ] && command -v systemctl >/dev/null; then
    ! running || systemctl stop "$NAME.service" || true
    systemctl --quiet disable "$NAME.service" 2>/dev/null || true
  fi
  for unit in "$opt"/current/systemd/*.service; do rm -f "$units/$(basename "$unit")"; done
  [ -n "$keep" ] || rm -rf "$units/$NAME.service.d"
  ! running || systemctl daemon-reload
}

# Those that something else has come to need stay.
remove_packages() {
  local packages
  mapfile -t packages <"$opt/packages"
  dpkg --purge "${packages[@]}" >"$scratch/dpkg" 2>&1 || say "  stay, since other packages need them: $(sed -n '/^Errors were/,$p' "$scratch/dpkg" | tail -n +2 | xargs)"
}

# And groups that nobody else is in.
remove_user() {
  local group
  userdel "$NAME" 2>/dev/null || broke "the user $NAME is in use"
  for group in "$NAME" $(cat "$opt/groups" 2>/dev/null); do
    case $(getent group "$group" || true) in *:) groupdel "$group" ;; esac
  done
}

main "$@"
