/*
 * One session in many threads: calls in flight together, a wait that another thread ends, and an object that is freed
 * while its handler runs in another thread.
 *
 *     threads SOCKET
 *
 * The machine has a disk "disk0" whose errors `block-fault-release` raises.
 */
#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <pthread.h>

#include "check.h"

#define THREADS 8
#define CALLS 50

static void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    CHECK(pthread_create(thread, NULL, run, argument) == 0);
}

static void join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

static QmpSession *new_session(const char *path)
{
    QmpError *error;
    QmpSession *session = libqmp_session_new_unix(path, &error);

    CHECK_OK(session != NULL, error);
    return session;
}

static void raise_error(QmpSession *session)
{
    QmpError *error;
    QmpBlockFaultReleaseArguments arguments = { .device = "disk0" };
    QmpBlockFaultReleased *released = libqmp_block_fault_release(session, &arguments, &error);

    CHECK_OK(released != NULL, error);
    libqmp_block_fault_released_free(released);
}

static void *ask(void *opaque)
{
    QmpSession *session = opaque;
    unsigned call;

    for (call = 0; call < CALLS; call++) {
        QmpError *error;
        QmpBlockInfoList *disks = libqmp_query_block(session, &error);

        CHECK_OK(disks != NULL, error);
        CHECK(disks->count == 2 && SAME(disks->items[0].device, "disk0"));
        libqmp_block_info_list_free(disks);
        raise_error(session);
    }
    return NULL;
}

static void count(const QmpBlockIoErrorOccurrence *occurrence, void *opaque)
{
    unsigned *calls = opaque;

    CHECK(occurrence->lost == 0);
    ++*calls;
}

static void calls_are_in_flight_together(const char *path)
{
    QmpError *error;
    QmpSession *session = new_session(path);
    QmpBlockIoErrorEvent *event = libqmp_get_block_io_error_event(session, &error);
    pthread_t threads[THREADS];
    unsigned thread;
    unsigned calls = 0;

    CHECK_OK(event != NULL, error);
    CHECK(libqmp_block_io_error_event_connect(event, count, &calls) != 0);
    for (thread = 0; thread < THREADS; thread++) {
        start(&threads[thread], ask, session);
    }
    while (calls < THREADS * CALLS) {
        struct pollfd descriptor = { libqmp_session_fd(session), POLLIN, 0 };

        CHECK(poll(&descriptor, 1, 60 * 1000) == 1);
        CHECK_OK(libqmp_session_dispatch(session, &error) >= 0, error);
    }
    CHECK(calls == THREADS * CALLS);
    for (thread = 0; thread < THREADS; thread++) {
        join(threads[thread]);
    }
    libqmp_block_io_error_event_free(event);
    libqmp_session_free(session);
}

/** A rendezvous of two threads. */
struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t arrived;
    unsigned at;
};

static void arrive_at(struct meeting *meeting, unsigned at)
{
    CHECK(pthread_mutex_lock(&meeting->mutex) == 0);
    meeting->at = at;
    CHECK(pthread_cond_broadcast(&meeting->arrived) == 0);
    CHECK(pthread_mutex_unlock(&meeting->mutex) == 0);
}

static void wait_for(struct meeting *meeting, unsigned at)
{
    CHECK(pthread_mutex_lock(&meeting->mutex) == 0);
    while (meeting->at < at) {
        CHECK(pthread_cond_wait(&meeting->arrived, &meeting->mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&meeting->mutex) == 0);
}

struct waiter {
    QmpBlockIoErrorEvent *event;
    struct meeting meeting;
};

static void *wait_for_ever(void *opaque)
{
    struct waiter *waiter = opaque;
    QmpError *error;

    arrive_at(&waiter->meeting, 1);
    CHECK_FAILED(libqmp_block_io_error_event_recv(waiter->event, -1, &error), error, QMP_ERROR_KIND_CLOSED, "closed");
    return NULL;
}

static void closing_ends_every_wait(const char *path)
{
    QmpError *error;
    QmpSession *session = new_session(path);
    struct waiter waiter = { NULL, { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 } };
    pthread_t thread;

    waiter.event = libqmp_get_block_io_error_event(session, &error);
    CHECK_OK(waiter.event != NULL, error);
    start(&thread, wait_for_ever, &waiter);
    /* It ends whether it waits already or not yet. */
    wait_for(&waiter.meeting, 1);
    libqmp_session_close(session);
    join(thread);
    libqmp_block_io_error_event_free(waiter.event);
    libqmp_session_free(session);
}

/** A handler that runs for a while. */
struct visit {
    QmpSession *session;
    struct meeting meeting;
    bool ended;
};

static void stay(const QmpBlockIoErrorOccurrence *occurrence, void *opaque)
{
    struct visit *visit = opaque;
    QmpError *error;
    unsigned call;

    arrive_at(&visit->meeting, 1);
    /* The other thread frees the object meanwhile, and has to wait. */
    for (call = 0; call < 20; call++) {
        CHECK_OK(libqmp_cont(visit->session, &error), error);
    }
    CHECK(SAME(occurrence->data.device, "disk0"));
    visit->ended = true;
}

static void *dispatch_once(void *opaque)
{
    struct visit *visit = opaque;
    QmpError *error;
    struct pollfd descriptor = { libqmp_session_fd(visit->session), POLLIN, 0 };

    CHECK(poll(&descriptor, 1, 60 * 1000) == 1);
    CHECK_OK(libqmp_session_dispatch(visit->session, &error) == 1, error);
    return NULL;
}

static void freeing_waits_for_a_handler_elsewhere(const char *path)
{
    QmpError *error;
    struct visit visit = { NULL, { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 }, false };
    QmpBlockIoErrorEvent *event;
    pthread_t thread;

    visit.session = new_session(path);
    event = libqmp_get_block_io_error_event(visit.session, &error);
    CHECK_OK(event != NULL, error);
    CHECK(libqmp_block_io_error_event_connect(event, stay, &visit) != 0);
    raise_error(visit.session);
    start(&thread, dispatch_once, &visit);
    wait_for(&visit.meeting, 1);
    libqmp_block_io_error_event_free(event);
    CHECK(visit.ended);
    join(thread);
    libqmp_session_free(visit.session);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    calls_are_in_flight_together(argv[1]);
    closing_ends_every_wait(argv[1]);
    freeing_waits_for_a_handler_elsewhere(argv[1]);
    return 0;
}
