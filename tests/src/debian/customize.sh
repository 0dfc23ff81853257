# Runs in mmdebstrap after the packages are installed; "$1" is Debian's root directory.
set -e
# Installs the newer kernel beside the release's: each kernel is a package of its own.
chroot "$1" apt-get install -y --no-install-recommends -t bookworm-backports linux-image-cloud-amd64
echo 'root:debian' | chroot "$1" chpasswd
echo 'debian' > "$1/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n' > "$1/etc/hosts"
# As the installer writes it: the root file system is checked at boot.
echo 'LABEL=debian / ext4 errors=remount-ro 0 1' > "$1/etc/fstab"
# On an emulated CPU of a busy machine, devices and services take longer than systemd's default timeout.
mkdir -p "$1/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultDeviceTimeoutSec=10min\nDefaultTimeoutStartSec=10min\n' \
    > "$1/etc/systemd/system.conf.d/patience.conf"
