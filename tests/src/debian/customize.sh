# Runs in mmdebstrap, once the packages are there; "$1" is the directory that becomes Debian's root.
set -e
# The newer kernel comes beside the first: each kernel's image is a package of its own.
chroot "$1" apt-get install -y --no-install-recommends -t bookworm-backports linux-image-cloud-amd64
echo 'root:debian' | chroot "$1" chpasswd
echo 'debian' > "$1/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n' > "$1/etc/hosts"
# As the installer writes it: the root file system is checked when the system starts.
echo 'LABEL=debian / ext4 errors=remount-ro 0 1' > "$1/etc/fstab"
