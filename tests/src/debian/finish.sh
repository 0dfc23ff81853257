# Makes the disk image "$3" from the root file system in the archive "$1", using the directory "$2", and copies its kernels
# and initramfs images to the directory "$4".
set -e
mkdir "$2" "$4"
# The kernel mounts /dev itself, and making devices here takes privilege.
tar -xpf "$1" -C "$2" --numeric-owner --exclude='./dev/*'
rm "$1"
# The settings of apt are for this host only.
rm -f "$2/etc/apt/apt.conf.d/99mmdebstrap"
# A system without a machine ID would set itself up at every boot from this image.
tr -d - < /proc/sys/kernel/random/uuid > "$2/etc/machine-id"
releases=$(cd "$2/boot" && ls -d vmlinuz-* | sed 's/^vmlinuz-//' | sort -V)
oldest=$(echo "$releases" | head -n 1)
newest=$(echo "$releases" | tail -n 1)
if [ "$oldest" = "$newest" ]; then
    echo "there is only one kernel: $oldest" >&2
    exit 1
fi
for kind in vmlinuz initrd.img; do
    cp "$2/boot/$kind-$oldest" "$4/$kind"
    cp "$2/boot/$kind-$newest" "$4/$kind-backports"
done
mke2fs -q -F -t ext4 -L debian -d "$2" "$3" 768M
rm -rf "$2"
