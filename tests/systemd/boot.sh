#!/bin/sh
# Boots the systemd of a directory tree as process 1 of namespaces of its own; arguments: the tree,
# a scratch directory, a cgroup, then pairs of a directory out here and its place in there.
set -eu
base=$1 scratch=$2 cgroup=$3
shift 3

if [ "${INSIDE-}" != 1 ]; then
	mkdir "$cgroup"
	echo $$ > "$cgroup/cgroup.procs"
	export INSIDE=1
	exec unshare -C -m -p -f -u -i -n --kill-child --propagation private \
		/bin/sh "$0" "$base" "$scratch" "$cgroup" "$@"
fi

mount -t tmpfs none "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay -o "lowerdir=$base,upperdir=$scratch/upper,workdir=$scratch/work" none "$root"
while [ $# -gt 0 ]; do
	mkdir -p "$root$2"
	mount --bind -o ro "$1" "$root$2"
	shift 2
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for each in run tmp dev; do
	mount -t tmpfs tmpfs "$root/$each"
done
# Devices of its own: whoever changes the mode of one in there changes none out here.
while read -r name minor; do
	mknod -m 666 "$root/dev/$name" c 1 "$minor"
done <<-END
	null 3
	zero 5
	full 7
	random 8
	urandom 9
END
mknod -m 666 "$root/dev/tty" c 5 0
cd "$root"
mkdir -p outside
pivot_root . outside
umount -l /outside
exec env -i container=blueplane-test /lib/systemd/systemd
