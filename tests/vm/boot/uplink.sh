#!/bin/sh
# The underlay: a cable to a namespace in which the other end lives, with a BIRD that speaks with ours. Run by a unit at
# boot, after systemd-networkd, which gives the addresses to our end.
set -eu
ip netns add other
ip link add uplink type veth peer name uplink netns other
ip -n other link set lo up
ip -n other address add 192.0.2.12/24 dev uplink
ip -n other address add 2001:db8::12/64 dev uplink nodad
ip -n other link set uplink up
cat > /run/other.conf << 'END'
router id 192.0.2.12;
protocol device {}
protocol static { ipv4; route 10.244.200.0/24 blackhole; }
protocol bgp {
  local 192.0.2.12 as 64513;
  neighbor 192.0.2.11 as 64512;
  # It is up before our end is, and does not wait for long.
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  ipv4 { import all; export all; next hop self; };
}
END
ip netns exec other bird -c /run/other.conf -s /run/other.ctl -P /run/other.pid
