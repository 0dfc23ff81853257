/*
 * The order of frees: objects within their own handlers, sessions before their objects, and both after the server has
 * closed the connection.
 *
 *     lifetimes SOCKET
 *
 * The machine has a disk "disk0" whose errors `block-fault-release` raises, and closes the connection on `quit`.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <poll.h>

#include "check.h"

static QmpSession *new_session(const char *path)
{
    QmpError *error;
    QmpSession *session = libqmp_session_new_unix(path, &error);

    CHECK_OK(session != NULL, error);
    return session;
}

static QmpBlockIoErrorEvent *new_event(QmpSession *session)
{
    QmpError *error;
    QmpBlockIoErrorEvent *event = libqmp_get_block_io_error_event_with(session, "disk0", false, &error);

    CHECK_OK(event != NULL, error);
    return event;
}

/** Raises a number of errors. */
static void raise_errors(QmpSession *session, const char *reason, uint64_t count)
{
    QmpError *error;
    QmpBlockFaultReleaseArguments arguments = {
        .device = "disk0", .id = reason, .has_ordinal = true, .ordinal = count
    };
    QmpBlockFaultReleased *released = libqmp_block_fault_release(session, &arguments, &error);

    CHECK_OK(released != NULL, error);
    CHECK(released->released == count);
    libqmp_block_fault_released_free(released);
}

static int64_t wait_and_dispatch(QmpSession *session)
{
    QmpError *error;
    struct pollfd descriptor = { libqmp_session_fd(session), POLLIN, 0 };
    int64_t handed_on;

    CHECK(poll(&descriptor, 1, 60 * 1000) == 1);
    handed_on = libqmp_session_dispatch(session, &error);
    CHECK_OK(handed_on >= 0, error);
    return handed_on;
}

/** What a handler does besides counting. */
struct plan {
    QmpSession *session;
    QmpBlockIoErrorEvent *event;
    uint64_t handler;
    unsigned calls;
};

static void count(const QmpBlockIoErrorOccurrence *occurrence, void *opaque)
{
    struct plan *plan = opaque;

    CHECK(SAME(occurrence->data.device, "disk0"));
    CHECK(occurrence->data.node_name == NULL);
    CHECK(occurrence->data.has_nospace && occurrence->data.nospace);
    CHECK(occurrence->data.operation == QMP_IO_OPERATION_TYPE_WRITE);
    plan->calls++;
}

static void free_object(const QmpBlockIoErrorOccurrence *occurrence, void *opaque)
{
    struct plan *plan = opaque;

    libqmp_block_io_error_event_free(plan->event);
    plan->event = NULL;
    /* Its argument is valid until it returns. */
    count(occurrence, opaque);
}

static void free_both(const QmpBlockIoErrorOccurrence *occurrence, void *opaque)
{
    struct plan *plan = opaque;

    libqmp_session_free(plan->session);
    plan->session = NULL;
    free_object(occurrence, opaque);
}

static void disconnect_itself(const QmpBlockIoErrorOccurrence *occurrence, void *opaque)
{
    struct plan *plan = opaque;

    CHECK(libqmp_block_io_error_event_disconnect(plan->event, plan->handler));
    count(occurrence, opaque);
}

/** Calls the server from within a handler. A nested dispatch does nothing. */
static void call(const QmpBlockIoErrorOccurrence *occurrence, void *opaque)
{
    struct plan *plan = opaque;
    QmpError *error;
    QmpBlockIoErrorEvent *another = new_event(plan->session);

    CHECK(libqmp_stop(plan->session, &error));
    CHECK(libqmp_session_dispatch(plan->session, &error) == 0);
    CHECK(libqmp_block_io_error_event_connect(another, count, plan) != 0);
    libqmp_block_io_error_event_free(another);
    count(occurrence, opaque);
}

static void frees_its_object(const char *path)
{
    struct plan plan = { new_session(path), NULL, 0, 0 };

    plan.event = new_event(plan.session);
    CHECK(libqmp_block_io_error_event_connect(plan.event, free_object, &plan) != 0);
    raise_errors(plan.session, "three", 3);
    while (plan.calls == 0) {
        wait_and_dispatch(plan.session);
    }
    raise_errors(plan.session, "more", 3);
    libqmp_session_dispatch(plan.session, NULL);
    CHECK(plan.calls == 1 && plan.event == NULL);
    libqmp_session_free(plan.session);
}

static void frees_its_object_and_the_session(const char *path)
{
    struct plan plan = { new_session(path), NULL, 0, 0 };
    QmpSession *session = plan.session;

    plan.event = new_event(plan.session);
    CHECK(libqmp_block_io_error_event_connect(plan.event, free_both, &plan) != 0);
    raise_errors(plan.session, "three", 3);
    while (plan.calls == 0) {
        wait_and_dispatch(session);
    }
    CHECK(plan.calls == 1 && plan.event == NULL && plan.session == NULL);
}

static void disconnects_itself(const char *path)
{
    struct plan plan = { new_session(path), NULL, 0, 0 };
    struct plan other = { NULL, NULL, 0, 0 };

    plan.event = new_event(plan.session);
    plan.handler = libqmp_block_io_error_event_connect(plan.event, disconnect_itself, &plan);
    CHECK(plan.handler != 0);
    CHECK(libqmp_block_io_error_event_connect(plan.event, count, &other) != 0);
    CHECK(!libqmp_block_io_error_event_disconnect(plan.event, 0));
    CHECK(!libqmp_block_io_error_event_disconnect(plan.event, 1000));
    raise_errors(plan.session, "three", 3);
    while (other.calls < 3) {
        wait_and_dispatch(plan.session);
    }
    CHECK(plan.calls == 1);
    libqmp_block_io_error_event_free(plan.event);
    libqmp_session_free(plan.session);
}

static void calls_the_server(const char *path)
{
    struct plan plan = { new_session(path), NULL, 0, 0 };

    plan.event = new_event(plan.session);
    CHECK(libqmp_block_io_error_event_connect(plan.event, call, &plan) != 0);
    raise_errors(plan.session, "two", 2);
    while (plan.calls < 2) {
        wait_and_dispatch(plan.session);
    }
    libqmp_block_io_error_event_free(plan.event);
    libqmp_session_free(plan.session);
}

/** The connection lives as long as an object. */
static void outlives_its_session(const char *path)
{
    QmpError *error;
    QmpSession *session = new_session(path);
    QmpSession *another = new_session(path);
    QmpBlockIoErrorEvent *event = new_event(session);
    QmpBlockIoErrorOccurrence *occurrence;
    struct plan plan = { NULL, NULL, 0, 0 };

    libqmp_session_free(session);
    raise_errors(another, "an error", 1);
    occurrence = libqmp_block_io_error_event_recv(event, 60 * 1000, &error);
    CHECK_OK(occurrence != NULL, error);
    libqmp_session_free(another);
    /* Adds a handler, with no thread dispatching. */
    CHECK(libqmp_block_io_error_event_connect(event, count, &plan) != 0);
    libqmp_block_io_error_event_free(event);
    CHECK(plan.calls == 0);
    CHECK(SAME(occurrence->data.reason, "an error"));
    libqmp_block_io_error_occurrence_free(occurrence);
}

static void closes(const char *path)
{
    QmpError *error;
    QmpSession *session = new_session(path);
    QmpBlockIoErrorEvent *event = new_event(session);

    libqmp_session_close(session);
    libqmp_session_close(session);
    CHECK_FAILED(libqmp_stop(session, &error), error, QMP_ERROR_KIND_CLOSED, "closed");
    CHECK_FAILED(libqmp_session_dispatch(session, &error) >= 0, error, QMP_ERROR_KIND_CLOSED, "closed");
    CHECK_FAILED(libqmp_block_io_error_event_recv(event, -1, &error), error, QMP_ERROR_KIND_CLOSED, "closed");
    libqmp_session_free(session);
    CHECK_FAILED(libqmp_block_io_error_event_recv(event, -1, &error), error, QMP_ERROR_KIND_CLOSED, "closed");
    libqmp_block_io_error_event_free(event);
}

/** The server closes the connection instead of answering; earlier events are still received. */
static void is_hung_up_on(const char *path)
{
    QmpError *error;
    QmpSession *session = new_session(path);
    QmpBlockIoErrorEvent *event = new_event(session);
    QmpBlockIoErrorEvent *handled = new_event(session);
    QmpBlockIoErrorOccurrence *occurrence;
    struct plan plan = { NULL, NULL, 0, 0 };

    CHECK(libqmp_block_io_error_event_connect(handled, count, &plan) != 0);
    raise_errors(session, "the last", 1);
    CHECK_FAILED(libqmp_quit(session, &error), error, QMP_ERROR_KIND_CLOSED, "the server closed it");
    CHECK_FAILED(libqmp_stop(session, &error), error, QMP_ERROR_KIND_CLOSED, "the server closed it");
    occurrence = libqmp_block_io_error_event_recv(event, -1, &error);
    CHECK_OK(occurrence != NULL, error);
    CHECK(SAME(occurrence->data.reason, "the last"));
    libqmp_block_io_error_occurrence_free(occurrence);
    CHECK_FAILED(libqmp_block_io_error_event_recv(event, -1, &error), error, QMP_ERROR_KIND_CLOSED, "the server closed it");
    while (plan.calls == 0) {
        wait_and_dispatch(session);
    }
    CHECK_FAILED(libqmp_session_dispatch(session, &error) >= 0, error, QMP_ERROR_KIND_CLOSED, "the server closed it");
    CHECK_FAILED(libqmp_get_stop_event(session, &error), error, QMP_ERROR_KIND_CLOSED, "the server closed it");
    libqmp_block_io_error_event_free(handled);
    libqmp_session_free(session);
    libqmp_block_io_error_event_free(event);
}

static unsigned open_descriptors(void)
{
    unsigned open = 0;
    DIR *directory = opendir("/proc/self/fd");

    CHECK(directory != NULL);
    while (readdir(directory) != NULL) {
        open++;
    }
    CHECK(closedir(directory) == 0);
    return open;
}

int main(int argc, char **argv)
{
    unsigned open = open_descriptors();

    CHECK(argc == 2);
    frees_its_object(argv[1]);
    frees_its_object_and_the_session(argv[1]);
    disconnects_itself(argv[1]);
    calls_the_server(argv[1]);
    outlives_its_session(argv[1]);
    closes(argv[1]);
    is_hung_up_on(argv[1]);
    CHECK(open_descriptors() == open);
    return 0;
}
