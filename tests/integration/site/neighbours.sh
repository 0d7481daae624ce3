#!/bin/sh
# Usage: neighbours.sh docker|flannel|calico|firewalld
# Puts on a node what a neighbour of a pod network puts, or leaves, there; the same objects by the same tools.
set -eu

case $1 in
  docker)
    # What dockerd makes of FORWARD; a start of it does this anew.
    for tables in iptables ip6tables; do
      "$tables" -P FORWARD DROP
      "$tables" -N DOCKER-USER 2> /dev/null || true
      "$tables" -C DOCKER-USER -j RETURN 2> /dev/null || "$tables" -A DOCKER-USER -j RETURN
      "$tables" -C FORWARD -j DOCKER-USER 2> /dev/null || "$tables" -I FORWARD -j DOCKER-USER
    done
    ;;
  flannel)
    ip link add flannel.1 type vxlan id 1 dstport 8472 nolearning
    ip link add cni0 type bridge
    for device in flannel.1 cni0; do
      echo 0 > "/proc/sys/net/ipv6/conf/$device/accept_dad"
      ip link set "$device" up
    done
    ip address add 10.244.0.0/32 dev flannel.1
    ip address add 10.244.0.1/24 dev cni0
    ip route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
    iptables -N FLANNEL-FWD
    iptables -A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT
    iptables -A FORWARD -j FLANNEL-FWD
    mkdir -p /run/flannel /etc/cni/net.d
    printf 'FLANNEL_NETWORK=10.244.0.0/16\n' > /run/flannel/subnet.env
    printf '{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [{"type": "flannel"}]}\n' > /etc/cni/net.d/10-flannel.conflist
    ;;
  calico)
    # Of an earlier time, and beside our pools: nothing of it is in the way. One half of it is in the other flavour.
    ip link add vxlan.calico type vxlan id 4096 dstport 4790 nolearning
    ip address add 192.168.250.1/32 dev vxlan.calico
    ip route add blackhole 192.168.250.0/26 proto 80
    iptables -N cali-FORWARD
    iptables -I FORWARD -j cali-FORWARD
    ip6tables-legacy -N cali-FORWARD
    ip6tables-legacy -I FORWARD -j cali-FORWARD
    ipset create cali40masq-ipam-pools hash:net
    mkdir -p /etc/cni/net.d
    printf '{"name": "k8s", "cniVersion": "0.3.1", "plugins": [{"type": "calico"}]}\n' > /etc/cni/net.d/20-calico.conflist
    ;;
  firewalld)
    mkdir -p /run/dbus
    setsid dbus-daemon --system --nofork --nopidfile --address=unix:path=/run/dbus/system_bus_socket < /dev/null > /root/dbus.log 2>&1 &
    for _ in $(seq 100); do [ ! -S /run/dbus/system_bus_socket ] || break; sleep 0.1; done
    setsid firewalld --nofork --nopid < /dev/null > /root/firewalld.log 2>&1 &
    for _ in $(seq 100); do [ "$(firewall-cmd --state 2>&1)" != running ] || exit 0; sleep 0.1; done
    exit 1
    ;;
esac
