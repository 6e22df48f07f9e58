# Makes $ROOT the root of the new namespaces that this runs in, as a container
# runtime would; then becomes the container's first process.
set -e
mount --make-rprivate /
if [ "$OVERLAID" ]; then
    # The layers are in a file system that the overlays hide.
    mount -t tmpfs layers "$ROOT/volume"
    cd "$ROOT/volume"
    for layer in 1 2; do
        mkdir -p $layer/upper $layer/work
        options="lowerdir=$ROOT,upperdir=$layer/upper,workdir=$layer/work"
        mount -t overlay -o "$options" overlay "$ROOT"
    done
    cd /
fi
if [ "$READ_ONLY" = "file system" ]; then
    mkdir "$ROOT/.old"
    # An overlay without an upper layer; it needs two lower ones.
    mount -t tmpfs layer "$ROOT/volume"
    mount -t overlay -o "lowerdir=$ROOT:$ROOT/volume" overlay "$ROOT"
fi
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
if [ "$LINKED_DEV" ]; then
    rmdir "$ROOT/dev"
    mkdir "$ROOT/srv/dev"
    ln -s srv/dev "$ROOT/dev"
else
    mount -t tmpfs tmpfs "$ROOT/dev"
fi
minor() { case $1 in null) echo 1 3;; zero) echo 1 5;; full) echo 1 7;; random) echo 1 8;; urandom) echo 1 9;; tty) echo 5 0;; esac; }
for name in null zero full random urandom tty; do
    # In a user namespace they cannot be made: there runtimes bind the node's.
    mknod -m 666 "$ROOT/dev/$name" c $(minor $name) 2> /dev/null || {
        : > "$ROOT/dev/$name"
        mount --bind "/dev/$name" "$ROOT/dev/$name"
    }
done
mkdir "$ROOT/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$ROOT/dev/pts"
ln -s pts/ptmx "$ROOT/dev/ptmx"
mount -t tmpfs tmpfs "$ROOT/volume"
echo data > "$ROOT/volume/file"
if [ "$SHARED" ]; then mount --make-rshared "$ROOT/volume"; fi
mount --bind "$ROOT/attacks" "$ROOT/attacks"
mount -o remount,bind,ro "$ROOT/attacks"
case $PROC in
absent) umount "$ROOT/proc" ;;
hidden) mount -o remount,hidepid=2 "$ROOT/proc" ;;
linked)
    umount "$ROOT/proc"
    rmdir "$ROOT/proc"
    ln -s / "$ROOT/proc"
    ;;
fake)
    mount -t tmpfs tmpfs "$ROOT/proc"
    mkdir -p "$ROOT/proc/1" "$ROOT/proc/self/attr" "$ROOT/proc/thread-self/attr"
    echo fake > "$ROOT/proc/1/comm"
    for name in attr/exec attr/current oom_score_adj setgroups; do
        : > "$ROOT/proc/self/$name"
        : > "$ROOT/proc/thread-self/${name##*/}"
    done
    ;;
esac
if [ "$CHROOT" ]; then
    for folder in bin attacks proc; do
        mkdir -p "$ROOT$CHROOT/$folder"
        mount --rbind "$ROOT/$folder" "$ROOT$CHROOT/$folder"
    done
fi
# Taken with this shell's own execve(2), the last thing it does.
if [ "$PROFILE" ]; then echo "exec $PROFILE" > /proc/self/attr/apparmor/exec; fi
clean="/bin/busybox env -i PATH=/bin:/attacks SECRET=s3cret"
cd "$ROOT"
if [ "$NO_PIVOT" ]; then
    hostname fake
    exec chroot "$ROOT" $clean /attacks/init $INIT
fi
mkdir -p .old
pivot_root . .old
exec /bin/busybox chroot / $clean /bin/busybox sh -c "
    cd /; hostname fake; busybox umount -l /.old; busybox rmdir /.old
    if [ '$READ_ONLY' = mount ]; then busybox mount -o remount,bind,ro /; fi
    exec busybox chroot ${CHROOT:-/} /attacks/init $INIT"
