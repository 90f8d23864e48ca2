#!/bin/sh
# PID 1 of the test machine. Sets up what systemd sets up on Debian 12 as far as
# an engine can tell the difference, runs one command, tells the host how it
# ended, and turns the machine off.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
# What udev would make.
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mkdir -p /job && mount -t ext4 -o noatime /dev/vdb /job
# As on Debian 12, /tmp is no memory. Here it is where the room is.
mkdir -p /job/tmp && chmod 1777 /job/tmp && mount --bind /job/tmp /tmp
mount --make-rshared /

# Device files whose modules are loaded when they are opened: loop-control, net/tun, fuse …
while read -r module name node; do
    [ "$module" != '#' ] || continue
    mkdir -p "/dev/$(dirname "$name")"
    numbers=${node#?}
    [ -e "/dev/$name" ] || mknod -m 600 "/dev/$name" "${node%"$numbers"}" "${numbers%:*}" "${numbers#*:}"
done <"/lib/modules/$(uname -r)/modules.devname"

echo debian12 >/proc/sys/kernel/hostname
echo 2 >/proc/sys/net/ipv4/conf/default/rp_filter
ip link set lo up
ulimit -Hn 524288 && ulimit -Sn 1024

for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
mkdir -p /sys/fs/cgroup/system.slice/job.service

# The device file of the channel with this name. The host's watchdog is the bound.
channel() {
    while :; do
        for port in /sys/class/virtio-ports/*; do
            if [ "$(cat "$port/name" 2>/dev/null)" = "$1" ]; then
                echo "/dev/${port##*/}"
                return
            fi
        done
        sleep 0.01
    done
}
output=$(channel output)
status=$(channel status)

echo "started $(cut -d' ' -f1 /proc/uptime)" >"$output"
# Through a pipe, because a channel can be opened only once and the command may want to open its own output.
mkfifo /run/output
cat /run/output >"$output" &
drain=$!
sh -c 'echo 0 >/sys/fs/cgroup/system.slice/job.service/cgroup.procs && exec /job/.machine/command' \
    </dev/null >/run/output 2>&1
code=$?

# What the command left running holds the pipe open.
for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    [ "$pid" = 1 ] || [ "$pid" = "$drain" ] || kill -KILL "$pid" 2>/dev/null
done
wait "$drain"
echo "exit $code" >"$status"
echo o >/proc/sysrq-trigger
# The disk is going away: wait without starting another program.
read -r _ <>/run/output
