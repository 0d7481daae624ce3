#!/bin/sh
# Makes on a node what other software would have there: a bridge, addresses, routes, a rule, a nexthop object, a permanent
# neighbour, a network namespace, nft and iptables rulesets, a CNI network, settings.
set -eu

ip link add name br-foreign type bridge
# Nothing answers on it, so there is nothing to try its own address against.
echo 0 > /proc/sys/net/ipv6/conf/br-foreign/accept_dad
ip link set dev br-foreign alias 'of somebody else' up
ip address add 10.99.0.1/24 dev br-foreign
ip address add fd00:99::1/64 dev br-foreign nodad
ip neighbour add 10.99.0.9 lladdr 02:00:00:00:00:09 dev br-foreign nud permanent

ip route add 10.98.0.0/16 via 10.99.0.9 dev br-foreign proto static
ip route add 10.98.0.0/16 via 10.99.0.9 dev br-foreign table 98
ip -6 route add fd00:98::/64 via fd00:99::9 dev br-foreign proto static
ip rule add to 10.98.0.0/16 table 98 priority 9800
ip nexthop add id 98 via 10.99.0.9 dev br-foreign
ip route add 10.96.0.0/16 nhid 98

# With it comes /run/netns, which is iproute2's own folder: whoever makes the first namespace makes it.
ip netns add foreign

nft -f - <<'RULES'
table inet foreign {
  set blocked { type ipv4_addr; elements = { 198.18.0.1, 198.18.0.2 } }
  chain input { type filter hook input priority filter; policy accept; ip saddr @blocked drop; }
}
RULES
for iptables in iptables ip6tables; do
  "$iptables" -N FOREIGN
  "$iptables" -A FOREIGN -p tcp --dport 65000 -j DROP
  "$iptables" -A FORWARD -m comment --comment 'of somebody else' -j FOREIGN
done

mkdir -p /etc/cni/net.d
printf '{"cniVersion": "1.0.0", "name": "foreign", "plugins": [{"type": "loopback"}]}\n' > /etc/cni/net.d/99-foreign.conflist
printf 'net.ipv4.conf.all.log_martians = 1\n' > /etc/sysctl.d/99-foreign.conf
echo 1 > /proc/sys/net/ipv4/conf/all/log_martians
