# In the guest: a load that says of each transaction and file when it is durable, and what is there of them later.
#
#   A <what> <number>.    number <number> is durable
#   H <what> ...          what is there

DISK=/dev/vda

attach() {
    mount -t ext4 -o data=ordered "$DISK" /mnt || {
        dmesg | tail -n 10
        false
    }
}

# Makes a file system with two databases and a directory. Without checksums: with them the 4 KiB of a commit block of
# the journal have to be written at once, or the file system cannot be mounted ("JBD2: journal transaction is
# corrupt"). A disk with sectors of 512 bytes does not promise that.
format() {
    mkfs.ext4 -q -F -b 4096 -O ^metadata_csum -E "lazy_itable_init=0,$1" "$DISK" && attach && mkdir /mnt/files || return
    for database in wal rollback; do
        sqlite3 -bail "/mnt/$database.db" "$(settings $database)
            CREATE TABLE entries (number INTEGER PRIMARY KEY, body TEXT);
            CREATE INDEX bodies ON entries (body);
            CREATE TABLE total (entries INTEGER, sum INTEGER);
            INSERT INTO total VALUES (0, 0);" > /dev/null || return
    done
    umount /mnt
}

# What makes a commit durable: to delete a rollback journal is one only when its directory is synced.
settings() {
    case $1 in
        wal) echo "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA wal_autocheckpoint = 30;" ;;
        rollback) echo "PRAGMA journal_mode = delete; PRAGMA synchronous = extra;" ;;
    esac
}

# An entry's text, by its number.
BODY="printf('%.*c%d', 50 + number % 7 * 400, char(97 + number % 26), number)"

# Transactions without end for a database, from a number on.
transactions() {
    settings "$1"
    number=$2
    while
        echo "BEGIN; INSERT INTO entries SELECT number, $BODY FROM (SELECT $number AS number);" \
            "UPDATE total SET entries = entries + 1, sum = sum + $number; COMMIT; SELECT 'A $1 $number.';"
    do
        number=$((number + 1))
    done
}

# Files without end, from a number on.
files() {
    number=$1
    while seq "$number" $((number + 400)) | dd of="/mnt/files/$number" bs=64k conv=fsync 2> /dev/null; do
        echo "A files $number."
        number=$((number + 1))
    done
}

# All of it at once, from these numbers on.
load() {
    attach && rm -rf /mnt/files/* || return
    transactions wal "$1" | sqlite3 -bail /mnt/wal.db &
    transactions rollback "$2" | sqlite3 -bail /mnt/rollback.db &
    files "$3" &
    wait
}

# Says what is there: how many entries, the last one's number, how many there should be, and how many are not as they
# should be; whole files; and what SQLite and e2fsck think of it.
look() {
    attach || return
    for database in wal rollback; do
        sqlite3 "/mnt/$database.db" "
            SELECT printf('H $database %d %d %d %d.', count(*), max(number), (SELECT entries FROM total),
                ((SELECT sum FROM total) <> total(number)) + total(body <> $BODY)) FROM entries;
            SELECT 'H integrity $database ' || integrity_check || '.' FROM pragma_integrity_check;"
    done
    (cd /mnt/files && awk '
        FNR == 1 { line = FILENAME + 0 }
        $1 == line { line++ }
        FNR == 401 && line == FILENAME + 401 { print "H files " FILENAME "." }' * 2> /dev/null)
    umount /mnt
    e2fsck -fn "$DISK"
    echo "H e2fsck $?."
}
