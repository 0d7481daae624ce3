#!/bin/sh
# Usage: drift.sh NUMBER
# Damages a node: the damage depends on its number.
set -eu
config=/etc/podnet/bird/bird.conf socket=/run/podnet/bird.ctl

# Beside our routes, and of no concern to us.
ip route add 10.97.0.0/16 via 10.99.0.9 dev br-foreign proto static

case $1 in
  0)
    kill -9 "$(cat /run/podnet/bird.pid)"
    ;;
  1)
    ip route delete "$(ip -4 route show proto bird | awk '{ print $1; exit }')" proto bird
    ip -6 route delete "$(ip -6 route show proto bird | awk '{ print $1; exit }')" proto bird
    ;;
  2)
    # Read by the running BIRD, too.
    sed -i '/^  import filter/d; s/export filter podnet_told[46];/export none;/' "$config"
    birdc -s "$socket" configure
    ;;
  *)
    rm "$socket"
    rm -r /etc/podnet/bird
    ;;
esac
