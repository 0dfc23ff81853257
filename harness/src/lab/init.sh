#!/bin/sh
# The lab's init: mounts file systems, loads KVM, runs the payload's script, reports its status, and powers the lab off.
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
ln -s /proc/self/fd /dev/fd
while read -r module; do insmod "$module"; done < /lib/modules/order
if [ -b /dev/vda ]; then
    mkdir /scratch
    mount -t ext4 -o noinit_itable /dev/vda /scratch
fi
ifconfig lo 127.0.0.1 up
[ -d /sys/class/net/eth0 ] && ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
echo FV-LAB-UP
cd /tmp
sh /payload/run < /dev/null 2>&1
echo "FV-LAB-EXIT $?"
# Changing a terminal's settings drains its output.
stty opost < /dev/console
poweroff -f
