#!/bin/sh
# Usage: drift.sh NUMBER DEVICE BRIDGE
# Damages a node: the damage depends on its number.
set -eu
number=$1 device=$2 bridge=$3

# Beside our routes, and of no concern to us.
ip route add 10.97.0.0/16 via 10.99.0.9 dev br-foreign proto static

first_fdb() { bridge fdb show dev "$device" | awk '/dst/ { print $1, $3; exit }'; }

case $number in
  0)
    # One of everything that leads to a peer.
    entry=$(first_fdb)
    bridge fdb delete "${entry% *}" dev "$device" dst "${entry#* }" self
    ip route delete "$(ip -4 route show proto 84 | awk '!/blackhole/ { print $1; exit }')" proto 84
    ip -6 route delete "$(ip -6 route show proto 84 | awk '!/blackhole/ { print $1; exit }')" proto 84
    ip neighbour delete "$(ip -4 neighbour show dev "$device" nud permanent | awk '{ print $1; exit }')" dev "$device"
    ;;
  1)
    ip link delete dev "$device"
    ;;
  2)
    # A peer that is said to be elsewhere, and a tunnel that is down.
    entry=$(first_fdb)
    bridge fdb replace "${entry% *}" dev "$device" dst 192.0.2.250 self permanent 2>/dev/null ||
      bridge fdb replace "${entry% *}" dev "$device" dst 2001:db8::250 self permanent
    ip link set dev "$device" down
    ip address flush dev "$bridge" scope global
    ;;
  *)
    ip link delete dev "$bridge"
    nft delete table inet podnet
    echo 0 > /proc/sys/net/ipv4/ip_forward
    ;;
esac
