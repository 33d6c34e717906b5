# The first process in namespaces of its own: makes the place ready, then runs a program in it. When it ends, everything in
# the place ends with it.
#
#   unshare --mount --pid --net --ipc --uts --fork --mount-proc sh -c "$(cat isolation.sh)" isolation FOLDER PROGRAM ARGUMENT...
set -eu
folder=$1
shift

# The host's folders of these names are not touched: containerd and kubelet have these paths built in.
mount --make-rprivate /
mkdir -p "$folder/lib" "$folder/log"
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/log" /var/log
mount -t tmpfs tmpfs /run

# One network for all nodes, with nothing else in it. 10.96.0.1 is the Service `kubernetes`: the API server listens there
# itself, so no kube-proxy is needed.
ip link set lo up
ip address add 10.96.0.1/32 dev lo
ip link add nodes type bridge
ip address add 10.99.0.1/24 dev nodes
ip address add 10.99.0.2/24 dev nodes
ip link set nodes up
ip route add default dev nodes
echo 1 > /proc/sys/net/ipv4/ip_forward

"$@" &
program=$!
# Whoever stops the first process means the program.
trap 'kill -s TERM $program' TERM INT HUP
code=0
wait $program || code=$?
# A signal ends the waiting, not the program.
while kill -s 0 $program 2>/dev/null; do
    code=0
    wait $program || code=$?
done
exit $code
