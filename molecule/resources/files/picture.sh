#!/bin/sh
# Usage: picture.sh FILE
# Writes down everything that a pod network could have changed on a host, a line for each thing, each line with its section,
# and without what changes by itself: counters, indices, ages.
set -eu
exec > "$1"

# An address on trial (duplicate address detection) becomes one that is not, with a route, within two seconds.
for _ in $(seq 100); do
  ip -6 address show tentative | grep -q . || break
  sleep 0.1
done

section() { sed -e "s|^|$1: |" -e 's/[[:space:]]*$//'; }

ip -o link show | sed -E 's/^[0-9]+: //; s/@if[0-9]+//' | section link
ip -o address show | sed -E 's/^[0-9]+: //' | section address
ip -4 route show table all | section route
ip -6 route show table all | section route
ip -4 rule show | section rule
ip -6 rule show | section rule
ip nexthop show | section nexthop
ip neighbour show nud permanent | section neighbour
bridge fdb show | grep permanent | section fdb
nft --stateless list ruleset | section nft
for save in iptables-save ip6tables-save; do
  "$save" | sed -E '/^#/d; s/\[[0-9]+:[0-9]+\]//' | section "$save"
done
# Asking the other flavour would load its tables; the files tell whether they are.
for names in ip ip6; do
  if [ -s "/proc/net/${names}_tables_names" ]; then
    "${names}tables-legacy-save" | sed -E '/^#/d; s/\[[0-9]+:[0-9]+\]//' | section "${names}tables-legacy-save"
  fi
done
if command -v ipset > /dev/null; then ipset save | section ipset; fi
if [ -d /sys/fs/bpf ]; then find /sys/fs/bpf -mindepth 1 | sort | section bpf; fi
sysctl -a 2>/dev/null | grep '^net\.' | grep -Ev 'nf_conntrack_count|stable_secret' | section sysctl
# The times of folders change when something was in them for a while; nothing else of a file may.
find /etc /opt /run /usr/lib/cni /usr/lib/systemd /usr/local /var/lib -xdev ! -type d -printf '%p %y %m %u:%g %s %l\n' | sort | section file
find /etc /opt /run /usr/lib/cni /usr/lib/systemd /usr/local /var/lib -xdev -type d -printf '%p %m %u:%g\n' | sort | section folder
find /etc /run -xdev -type f -exec sha256sum {} + | sort -k 2 | section content
