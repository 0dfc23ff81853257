#!/bin/sh
# The guest's init: prints its marker, mounts file systems, loads the virtio modules, and runs a test's script, or a shell.
echo FV-INIT
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
while read -r module; do insmod "$module"; done < /lib/modules/order

if [ -f /test/run ]; then
    cd /tmp
    sh /test/run < /dev/null 2>&1
    echo "FV-EXIT $?"
    # Changing a terminal's settings drains its output: nothing is lost when the machine ends.
    stty opost < /dev/console
    $(cat /test/end)
    # The chosen end may have no effect on this machine.
    exec sleep 1000000
fi

echo
echo "Linux $(uname -r). A disk is /dev/vda: mount /dev/vda /mnt. Ends with: exit"
setsid cttyhack sh
stty opost < /dev/console
reboot -f
