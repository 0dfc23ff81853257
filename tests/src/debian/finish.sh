# Copies the kernels and initramfs images of the root file system in the archive "$1" to the directory "$2".
set -e
mkdir "$2"
tar -xf "$1" -C "$2" --strip-components=2 --no-same-owner --wildcards './boot/vmlinuz-*' './boot/initrd.img-*'
cd "$2"
releases=$(ls -d vmlinuz-* | sed 's/^vmlinuz-//' | sort -V)
oldest=$(echo "$releases" | head -n 1)
newest=$(echo "$releases" | tail -n 1)
if [ "$oldest" = "$newest" ]; then
    echo "there is only one kernel: $oldest" >&2
    exit 1
fi
for kind in vmlinuz initrd.img; do
    mv "$kind-$oldest" "$kind"
    mv "$kind-$newest" "$kind-backports"
done
