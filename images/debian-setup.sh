#!/bin/sh
# Turns a fresh Debian root into a sandbox's: mmdebstrap runs it with the root's path, as root, confined
# to the build's namespaces. SOURCE_DATE_EPOCH is set.
set -eu
root=$1

# The sandbox user: no password, no sudo.
chroot "$root" groupadd --gid 1000 user
chroot "$root" useradd --uid 1000 --gid 1000 --create-home --home-dir /home/user --shell /bin/bash user
install -d -o 1000 -g 1000 -m 755 "$root/workspace"

# The small vim goes by its full name too, until a larger one is installed.
chroot "$root" update-alternatives --quiet --install /usr/bin/vim vim /usr/bin/vim.tiny 10

# What differs from build to build, or is of no use in a sandbox.
rm -f "$root"/var/cache/ldconfig/aux-cache "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
rm -f "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow-
rm -f "$root"/etc/subuid- "$root"/etc/subgid-
find "$root/var/log" -type f -delete

# Python's compiled files remember their source's time of change, so that time is settled first. Without
# SOURCE_DATE_EPOCH they are checked by time, not by reading the source: every import is one read less.
find "$root" -xdev -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
find "$root/usr/lib/python3" "$root"/usr/lib/python3.* -name __pycache__ -prune -exec rm -rf {} +
env -u SOURCE_DATE_EPOCH chroot "$root" \
    sh -c 'python3 -m compileall -q --invalidation-mode timestamp /usr/lib/python3*'
