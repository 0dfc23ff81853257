# The guest's load, which acknowledges each durable transaction and file, and the check of what survived.
#
#   A <what> <number>.    number <number> is durable
#   H <what> ...          what was found

DISK=/dev/vda

attach() {
    mount -t ext4 -o data=ordered "$DISK" /mnt || {
        dmesg | tail -n 10
        false
    }
}

# Makes a file system with two databases and a directory. Without checksums: a torn commit block of 4 KiB with one makes
# the journal invalid and the mount fail ("JBD2: journal transaction is corrupt"), and a disk with sectors of 512 bytes may
# tear it.
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

# Makes each commit durable. Deleting a rollback journal commits only once its directory is synced.
settings() {
    case $1 in
        wal) echo "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA wal_autocheckpoint = 30;" ;;
        rollback) echo "PRAGMA journal_mode = delete; PRAGMA synchronous = extra;" ;;
    esac
}

# An entry's text, from its number.
BODY="printf('%.*c%d', 50 + number % 7 * 400, char(97 + number % 26), number)"

# Endless transactions on a database, numbered from $2.
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

# Endless files, numbered from $1.
files() {
    number=$1
    while seq "$number" $((number + 400)) | dd of="/mnt/files/$number" bs=64k conv=fsync 2> /dev/null; do
        echo "A files $number."
        number=$((number + 1))
    done
}

# All three loads in parallel, numbered from $1, $2 and $3.
load() {
    attach && rm -rf /mnt/files/* || return
    transactions wal "$1" | sqlite3 -bail /mnt/wal.db &
    transactions rollback "$2" | sqlite3 -bail /mnt/rollback.db &
    files "$3" &
    wait
}

# Reports for each database the number of entries, the last number, the expected number, and how many are wrong; the
# complete files; and the findings of SQLite and e2fsck.
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
