#!/bin/sh
# Usage: drift.sh NUMBER BRIDGE DEVICE
# Damages a node: the damage depends on its number. Without a device of its own the dataplane has routes only.
set -eu
number=$1 bridge=$2 device=${3:-}

# Beside our routes, and of no concern to us.
ip route replace 10.97.0.0/16 via 10.99.0.9 dev br-foreign proto static

kind=
if [ -n "$device" ]; then
  kind=$(ip -details -o link show dev "$device" | grep -Eo ' (vxlan|geneve|ipip|wireguard) ' | head -n 1 | tr -d ' ')
fi

first_fdb() { bridge fdb show dev "$device" | awk '/dst/ { print $1, $3; exit }'; }

# Routes to peers; the node's own blocks are rejected by others of ours.
first_route() { ip "$1" route show proto 84 | awk '!/blackhole/ { print $1; exit }'; }

case $number in
  0)
    # One of everything that leads to a peer.
    case $kind in
      vxlan)
        entry=$(first_fdb)
        bridge fdb delete "${entry% *}" dev "$device" dst "${entry#* }" self
        ;;
      wireguard) wg set "$device" peer "$(wg show "$device" peers | head -n 1)" remove ;;
    esac
    case $kind in
      vxlan | geneve)
        ip neighbour delete "$(ip -4 neighbour show dev "$device" nud permanent | awk '{ print $1; exit }')" dev "$device"
        ;;
    esac
    ip route delete "$(first_route -4)" proto 84
    ip -6 route delete "$(first_route -6)" proto 84
    ;;
  1)
    if [ -n "$device" ]; then
      ip link delete dev "$device"
    else
      # All of them, and the nexthop objects behind them.
      ip nexthop show proto 84 | awk '{ print $2 }' | while read -r id; do ip nexthop delete id "$id"; done
    fi
    ;;
  2)
    # A peer that is said to be elsewhere, and a tunnel that is down.
    if [ "$kind" = vxlan ]; then
      entry=$(first_fdb)
      bridge fdb replace "${entry% *}" dev "$device" dst 192.0.2.250 self permanent 2>/dev/null ||
        bridge fdb replace "${entry% *}" dev "$device" dst 2001:db8::250 self permanent
    fi
    if [ -n "$device" ]; then
      ip link set dev "$device" down
    else
      ip route replace "$(first_route -4)" via 10.99.0.9 dev br-foreign proto 84
    fi
    ip address flush dev "$bridge" scope global
    ;;
  *)
    ip link delete dev "$bridge"
    nft delete table inet podnet
    echo 0 > /proc/sys/net/ipv4/ip_forward
    ;;
esac
