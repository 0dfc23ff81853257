/*
 * A guest's disk fails, and libqmp delivers the error as a typed event.
 *
 * README.md says how to run it, and with which guest.
 */
#define _XOPEN_SOURCE 700

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <libqmp.h>

enum { SOON = 60, DISK_BYTES = 64 << 20 };

/* Directory of the machine's files. */
static char directory[] = "/tmp/faultvisor-XXXXXX";
static char disk[sizeof directory + 8], serial[sizeof directory + 8];

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL ? value : otherwise;
}

/* Creates an empty disk image. */
static int make_disk(void)
{
    FILE *file;
    int made;
    if (mkdtemp(directory) == NULL)
        return -1;
    sprintf(disk, "%s/disk", directory);
    sprintf(serial, "%s/serial", directory);
    file = fopen(disk, "w");
    if (file == NULL)
        return -1;
    made = ftruncate(fileno(file), DISK_BYTES);
    return fclose(file) == 0 ? made : -1;
}

/* Starts a machine with its serial console on a socket. It ends with its session. */
static QmpSession *start(QmpError **error)
{
    char drive[64], port[64];
    const char *arguments[] = {
        setting("FAULTVISOR", "faultvisor"),
        "--kernel", setting("FAULTVISOR_KERNEL", "target/guest/vmlinux"),
        "--initrd", setting("FAULTVISOR_INITRD", "target/guest/initramfs.cpio"),
        "--append", setting("FAULTVISOR_APPEND", "console=ttyS0 quiet panic=-1 reboot=t"),
        "--drive", drive, "--serial", port, NULL,
    };
    QmpSessionOptions options = QMP_SESSION_OPTIONS_INIT;
    options.timeout_ms = SOON * 1000;
    sprintf(drive, "file=%s,format=raw,id=disk0", disk);
    sprintf(port, "unix:%s", serial);
    return libqmp_session_new_spawn((char *const *)arguments, &options, error);
}

/* Connects to the serial console, which holds the guest's output until then. */
static int open_console(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int console = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, serial);
    if (console >= 0 && connect(console, (struct sockaddr *)&address, sizeof address) == 0)
        return console;
    perror(serial);
    return -1;
}

/* Reads until the guest has printed a text, whose first character occurs nowhere else in it. */
static int wait_for(int console, const char *text)
{
    time_t deadline = time(NULL) + SOON;
    size_t found = 0;
    while (text[found] != '\0') {
        struct pollfd readable = { .fd = console, .events = POLLIN };
        char character;
        if (time(NULL) > deadline || poll(&readable, 1, 1000) < 0)
            break;
        if (readable.revents == 0)
            continue;
        if (read(console, &character, 1) != 1)
            break;
        if (character == text[found])
            found++;
        else
            found = character == text[0];
    }
    if (text[found] != '\0')
        fprintf(stderr, "no '%s' on the serial console\n", text);
    return text[found] == '\0' ? 0 : -1;
}

/* Has the guest read a bad sector, and returns the event. */
static QmpBlockIoErrorOccurrence *fail_a_read(QmpSession *session, int console, QmpError **error)
{
    static const char command[] = "head -c 512 /dev/vda\n";
    QmpBlockFaultRule rule = { .device = "disk0", .action = QMP_BLOCK_FAULT_ACTION_TYPE_ERROR };
    QmpBlockIoErrorOccurrence *occurrence = NULL;
    QmpBlockFaultAdded *added;
    QmpBlockIoErrorEvent *errors = libqmp_get_block_io_error_event(session, error);
    if (errors == NULL)
        return NULL;
    rule.u.error.errno_.kind = QMP_BLOCK_FAULT_ERRNO_KIND_NAME;
    rule.u.error.errno_.u.name = QMP_BLOCK_FAULT_ERRNO_NAME_EIO;
    added = libqmp_block_fault_add(session, &rule, error);
    if (added != NULL && write(console, command, strlen(command)) == (ssize_t)strlen(command))
        occurrence = libqmp_block_io_error_event_recv(errors, SOON * 1000, error);
    libqmp_block_fault_added_free(added);
    libqmp_block_io_error_event_free(errors);
    return occurrence;
}

/* Prints the error, and returns whether it is the expected one. */
static int tell(const QmpBlockIoError *error)
{
    printf("%s on %s: %s\n", libqmp_io_operation_type_name(error->operation), error->device, error->reason);
    return error->operation == QMP_IO_OPERATION_TYPE_READ && strcmp(error->device, "disk0") == 0 ? 0 : -1;
}

int main(void)
{
    int console = -1, status = EXIT_FAILURE;
    QmpSession *session = NULL;
    QmpError *error = NULL;
    QmpBlockIoErrorOccurrence *occurrence = NULL;
    if (make_disk() != 0)
        perror(directory);
    else if ((session = start(&error)) != NULL && (console = open_console()) >= 0
             && wait_for(console, "A disk is /dev/vda") == 0
             && (occurrence = fail_a_read(session, console, &error)) != NULL
             && tell(&occurrence->data) == 0 && libqmp_quit(session, &error))
        status = EXIT_SUCCESS;
    if (error != NULL)
        fprintf(stderr, "%s\n", libqmp_error_message(error));
    libqmp_block_io_error_occurrence_free(occurrence);
    libqmp_error_free(error);
    libqmp_session_free(session);
    if (console >= 0)
        close(console);
    unlink(disk);
    unlink(serial);
    rmdir(directory);
    return status;
}
