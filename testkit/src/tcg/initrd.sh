#!/bin/busybox sh
# The first program of the test machine: reaches the disks, and hands over to init.sh.
# If it fails the kernel panics, and the host sees a machine that died.
set -e
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do
    /bin/busybox insmod "/modules/$module"
done </modules/order
# The drivers are in, but finding the disks is asynchronous. The host's watchdog is the bound.
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do /bin/busybox usleep 2000; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
