/*
 * A client of any QMP server: queries it, stops and continues the machine, and receives the events.
 *
 *     client SOCKET [--without-accessors]
 *
 * With --without-accessors the server has no accessors, like QEMU; without it, it must have them. The machine may be
 * without disks.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <poll.h>

#include "check.h"

/** What the handlers have received. */
struct heard {
    unsigned stops;
    unsigned resumes;
};

static void on_stop(const QmpStopOccurrence *occurrence, void *opaque)
{
    struct heard *heard = opaque;

    CHECK(occurrence->timestamp.seconds > 0);
    CHECK(!occurrence->initial);
    CHECK(occurrence->lost == 0);
    heard->stops++;
}

static void on_resume(const QmpResumeOccurrence *occurrence, void *opaque)
{
    struct heard *heard = opaque;

    CHECK(occurrence->timestamp.seconds > 0);
    heard->resumes++;
}

/** A program's main loop: polls its descriptors, among them the session's. */
static void dispatch_until(QmpSession *session, const unsigned *count, unsigned expected)
{
    QmpError *error;

    while (*count < expected) {
        struct pollfd descriptor = { libqmp_session_fd(session), POLLIN, 0 };
        int ready;

        do {
            ready = poll(&descriptor, 1, 60 * 1000);
        } while (ready < 0 && errno == EINTR);
        CHECK(ready == 1);
        CHECK_OK(libqmp_session_dispatch(session, &error) >= 0, error);
    }
    CHECK(*count == expected);
}

static void ask(QmpSession *session)
{
    QmpError *error;
    QmpVersionInfo *version = libqmp_query_version(session, &error);
    QmpCommandInfoList *commands;
    QmpBlockInfoList *disks;
    size_t index;
    bool has_stop = false;

    CHECK_OK(version != NULL, error);
    CHECK(version->qemu.major > 0);
    CHECK(version->package != NULL);
    printf("version %lld.%lld\n", (long long)version->qemu.major, (long long)version->qemu.minor);
    libqmp_version_info_free(version);

    commands = libqmp_query_commands(session, &error);
    CHECK_OK(commands != NULL, error);
    for (index = 0; index < commands->count; index++) {
        has_stop = has_stop || SAME(commands->items[index].name, "stop");
    }
    CHECK(has_stop);
    libqmp_command_info_list_free(commands);

    disks = libqmp_query_block(session, &error);
    CHECK_OK(disks != NULL, error);
    for (index = 0; index < disks->count; index++) {
        const QmpBlockInfo *disk = &disks->items[index];
        const char *status = disk->has_io_status ? libqmp_block_device_io_status_name(disk->io_status) : "unknown";

        printf("disk '%s': %s, %s\n", disk->device, status,
               disk->inserted != NULL ? disk->inserted->file : "no medium");
    }
    libqmp_block_info_list_free(disks);
}

static void check_status(QmpSession *session, bool running)
{
    QmpError *error;
    QmpStatusInfo *status = libqmp_query_status(session, &error);

    CHECK_OK(status != NULL, error);
    CHECK(status->running == running);
    CHECK(libqmp_run_state_name(status->status) != NULL);
    CHECK(!running || status->status == QMP_RUN_STATE_RUNNING);
    libqmp_status_info_free(status);
}

static void hear(QmpSession *session)
{
    struct heard heard = { 0, 0 };
    struct heard also_heard = { 0, 0 };
    QmpError *error;
    QmpStopOccurrence *occurrence;
    QmpStopEvent *stop = libqmp_get_stop_event(session, &error);
    QmpResumeEvent *resume;
    uint64_t first;
    uint64_t second;

    CHECK_OK(stop != NULL, error);
    resume = libqmp_get_resume_event(session, &error);
    CHECK_OK(resume != NULL, error);
    first = libqmp_stop_event_connect(stop, on_stop, &heard);
    second = libqmp_stop_event_connect(stop, on_stop, &also_heard);
    CHECK(first != 0 && second != 0 && first != second);
    CHECK(libqmp_resume_event_connect(resume, on_resume, &heard) != 0);

    CHECK_OK(libqmp_cont(session, &error), error);
    CHECK_OK(libqmp_stop(session, &error), error);
    check_status(session, false);
    dispatch_until(session, &heard.stops, heard.stops + 1);
    CHECK(also_heard.stops == heard.stops);

    /* With one handler less the other one is still called. */
    CHECK(libqmp_stop_event_disconnect(stop, second));
    CHECK(!libqmp_stop_event_disconnect(stop, second));
    heard.resumes = 0;
    CHECK_OK(libqmp_cont(session, &error), error);
    check_status(session, true);
    dispatch_until(session, &heard.resumes, 1);
    CHECK_OK(libqmp_stop(session, &error), error);
    dispatch_until(session, &heard.stops, 2);
    CHECK(also_heard.stops == 1);

    /* Without handlers occurrences are received by the caller. */
    CHECK(libqmp_stop_event_disconnect(stop, first));
    CHECK_OK(libqmp_cont(session, &error), error);
    CHECK_OK(libqmp_stop(session, &error), error);
    occurrence = libqmp_stop_event_recv(stop, 60 * 1000, &error);
    CHECK_OK(occurrence != NULL, error);
    CHECK(occurrence->timestamp.seconds > 0);
    libqmp_stop_occurrence_free(occurrence);
    CHECK_FAILED(libqmp_stop_event_recv(stop, 0, &error), error, QMP_ERROR_KIND_TIMED_OUT, "STOP");
    CHECK(heard.stops == 2);

    libqmp_resume_event_free(resume);
    libqmp_stop_event_free(stop);
}

static void speak_raw(QmpSession *session)
{
    QmpError *error;
    QmpRawEvent *every_event = libqmp_any_event(session, &error);
    QmpRawOccurrence *occurrence;
    char *answer;

    CHECK_OK(every_event != NULL, error);
    answer = libqmp_execute_raw(session, "cont", NULL, &error);
    CHECK_OK(answer != NULL, error);
    CHECK(SAME(answer, "{}"));
    libqmp_string_free(answer);
    occurrence = libqmp_raw_event_recv(every_event, 60 * 1000, &error);
    CHECK_OK(occurrence != NULL, error);
    CHECK(SAME(occurrence->data.name, "RESUME"));
    CHECK(SAME(occurrence->data.json, "{}"));
    libqmp_raw_occurrence_free(occurrence);
    libqmp_raw_event_free(every_event);

    answer = libqmp_execute_raw(session, "query-status", "{}", &error);
    CHECK_OK(answer != NULL, error);
    CHECK(strstr(answer, "\"running\":true") != NULL);
    libqmp_string_free(answer);
    answer = libqmp_execute_raw_out_of_band(session, "stop", NULL, &error);
    CHECK_FAILED(answer, error, QMP_ERROR_KIND_COMMAND, "");
    answer = libqmp_execute_raw(session, "no-such-command", NULL, &error);
    CHECK(libqmp_error_class(error) == QMP_ERROR_CLASS_COMMAND_NOT_FOUND);
    CHECK(SAME(libqmp_error_class_name(error), "CommandNotFound"));
    CHECK(strstr(libqmp_error_description(error), "no-such-command") != NULL);
    CHECK_FAILED(answer, error, QMP_ERROR_KIND_COMMAND, "CommandNotFound: ");
}

int main(int argc, char **argv)
{
    QmpError *error;
    QmpSession *session;
    bool has_accessors = argc < 3 || !SAME(argv[2], "--without-accessors");

    CHECK(argc >= 2);
    session = libqmp_session_new_unix(argv[1], &error);
    CHECK_OK(session != NULL, error);
    CHECK(libqmp_session_has_accessors(session) == has_accessors);
    ask(session);
    hear(session);
    speak_raw(session);
    libqmp_session_free(session);
    return 0;
}
