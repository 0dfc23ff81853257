/*
 * What the documentation allows is tolerated; what it forbids is an error by name where the library can tell.
 *
 *     misuse SOCKET
 *
 * The machine has a disk "disk0", and does not answer `quit`.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <math.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

#define INVALID QMP_ERROR_KIND_INVALID_ARGUMENT

static void check_frees(void)
{
    libqmp_session_free(NULL);
    libqmp_session_close(NULL);
    libqmp_error_free(NULL);
    libqmp_string_free(NULL);
    libqmp_stop_event_free(NULL);
    libqmp_raw_event_free(NULL);
    libqmp_stop_occurrence_free(NULL);
    libqmp_block_info_list_free(NULL);
    CHECK(libqmp_session_fd(NULL) == -1);
    CHECK(!libqmp_session_has_accessors(NULL));
    CHECK(libqmp_error_kind(NULL) == QMP_ERROR_KIND_NONE);
    CHECK(libqmp_error_class(NULL) == QMP_ERROR_CLASS_NONE);
    CHECK(libqmp_error_class_name(NULL) == NULL);
    CHECK(libqmp_error_message(NULL) == NULL);
    CHECK(libqmp_error_description(NULL) == NULL);
    CHECK(SAME(libqmp_run_state_name(QMP_RUN_STATE_IO_ERROR), "io-error"));
    CHECK(libqmp_run_state_name((QmpRunState)77) == NULL);
    CHECK(libqmp_run_state_name((QmpRunState)-1) == NULL);
}

static void check_null(QmpSession *session)
{
    QmpError *error;

    CHECK_FAILED(libqmp_query_block(NULL, &error), error, INVALID, "`session` is NULL");
    CHECK_FAILED(libqmp_stop(NULL, &error), error, INVALID, "`session` is NULL");
    CHECK_FAILED(libqmp_get_stop_event(NULL, &error), error, INVALID, "`session` is NULL");
    CHECK_FAILED(libqmp_stop_event_recv(NULL, 0, &error), error, INVALID, "`event` is NULL");
    CHECK_FAILED(libqmp_session_dispatch(NULL, &error) >= 0, error, INVALID, "`session` is NULL");
    CHECK_FAILED(libqmp_execute_raw(NULL, "stop", NULL, &error), error, INVALID, "`session` is NULL");
    CHECK_FAILED(libqmp_execute_raw(session, NULL, NULL, &error), error, INVALID, "`command` is NULL");
    CHECK_FAILED(libqmp_get_event(session, NULL, NULL, false, &error), error, INVALID, "`name` is NULL");
    CHECK_FAILED(libqmp_block_resize(session, NULL, &error), error, INVALID, "`arguments` is NULL");
    CHECK_FAILED(libqmp_session_new_unix(NULL, &error), error, INVALID, "`path` is NULL");
    CHECK_FAILED(libqmp_session_new(NULL, NULL, &error), error, INVALID, "`address` is NULL");
    CHECK_FAILED(libqmp_session_new_spawn(NULL, NULL, &error), error, INVALID, "`argv` is NULL");
    CHECK(!libqmp_stop(NULL, NULL));
    CHECK(libqmp_stop_event_connect(NULL, NULL, NULL) == 0);
    CHECK(!libqmp_stop_event_disconnect(NULL, 1));
}

static void check_members(QmpSession *session)
{
    QmpError *error;
    QmpBlockFaultOperation operation = (QmpBlockFaultOperation)5;
    QmpBlockFaultOperationList operations = { 1, &operation };
    QmpBlockFaultRule rule = { .action = QMP_BLOCK_FAULT_ACTION_TYPE_HANG };
    const unsigned char neither = 2;

    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID, "`arguments.device` is NULL");
    rule.device = "disk\xff";
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID,
                 "`arguments.device` is not UTF-8 from its byte 4 on");
    rule.device = "disk0";
    rule.operations = &operations;
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID,
                 "`arguments.operations.items[0]` is 5, which is no value of QmpBlockFaultOperation");
    operations.items = NULL;
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID,
                 "`arguments.operations` has 1 items, and `items` is NULL");
    operations.items = &operation;
    operations.count = SIZE_MAX;
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID, "no memory has room");
    operations.count = 0;
    operations.items = NULL;
    rule.has_probability = true;
    rule.probability = NAN;
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID, "`arguments.probability` is NaN");
    /* An absent member is not read. */
    rule.has_probability = false;
    rule.action = (QmpBlockFaultActionType)99;
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID,
                 "`arguments.action` is 99, which is no value of QmpBlockFaultActionType");
    rule.action = QMP_BLOCK_FAULT_ACTION_TYPE_ERROR;
    rule.u.error.errno_.kind = (QmpBlockFaultErrnoKind)2;
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID,
                 "`arguments.u.error.errno_.kind` is 2, which is no value of QmpBlockFaultErrnoKind");
    rule.u.error.errno_.kind = QMP_BLOCK_FAULT_ERRNO_KIND_NAME;
    rule.u.error.errno_.u.name = (QmpBlockFaultErrnoName)100000;
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID,
                 "`arguments.u.error.errno_.u.name` is 100000");
    rule.action = QMP_BLOCK_FAULT_ACTION_TYPE_HANG;
    memcpy(&rule.has_sector, &neither, 1);
    CHECK_FAILED(libqmp_block_fault_add(session, &rule, &error), error, INVALID,
                 "`arguments.has_sector` is neither true nor false, but 2");
    rule.has_sector = false;
    {
        QmpBlockFaultAdded *added = libqmp_block_fault_add(session, &rule, &error);

        CHECK_OK(added != NULL, error);
        libqmp_block_fault_added_free(added);
    }
}

static void check_texts(QmpSession *session)
{
    QmpError *error;
    QmpConnectArguments connect = { .obj = "{", .signal = "x" };

    CHECK_FAILED(libqmp_execute_raw(session, "\x80", NULL, &error), error, INVALID, "`command` is not UTF-8");
    CHECK_FAILED(libqmp_execute_raw(session, "stop", "{", &error), error, INVALID, "`arguments` is not JSON");
    CHECK_FAILED(libqmp_execute_raw(session, "stop", "[]", &error), error, INVALID, "`arguments` is no JSON object");
    CHECK_FAILED(libqmp_connect(session, &connect, &error), error, INVALID, "`arguments.obj` is not JSON");
    connect.obj = NULL;
    CHECK_FAILED(libqmp_connect(session, &connect, &error), error, INVALID, "`arguments.obj` is NULL");
    CHECK_FAILED(libqmp_session_new_unix("/\xff", &error), error, INVALID, "`path` is not UTF-8");
    CHECK_FAILED(libqmp_get_block_io_error_event_with(session, "\xff", false, &error), error, INVALID,
                 "`device` is not UTF-8");
    CHECK_FAILED(libqmp_get_block_io_error_event_with(session, "disk1", false, &error), error,
                 QMP_ERROR_KIND_COMMAND, "disk1");
    CHECK_FAILED(libqmp_get_event(session, "NO_SUCH_EVENT", NULL, false, &error), error,
                 QMP_ERROR_KIND_EVENT_NOT_FOUND, "NO_SUCH_EVENT");
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void check_sessions(const char *socket_path)
{
    QmpError *error;
    QmpSessionOptions options = QMP_SESSION_OPTIONS_INIT;
    char *const nothing[] = { NULL };
    char *const no_program[] = { "/no/such/program", NULL };
    int sockets[2];

    CHECK_FAILED(libqmp_session_new_unix("/no/such/socket", &error), error, QMP_ERROR_KIND_CONNECT, "/no/such/socket");
    CHECK_FAILED(libqmp_session_new("localhost:4444", NULL, &error), error, INVALID, "localhost:4444");
    CHECK_FAILED(libqmp_session_new_fd(-1, NULL, &error), error, INVALID, "`fd` is -1, which is not open");
    CHECK_FAILED(libqmp_session_new_fd(1000, NULL, &error), error, INVALID, "`fd` is 1000, which is not open");
    CHECK_FAILED(libqmp_session_new_spawn(nothing, NULL, &error), error, INVALID, "`argv[0]` is NULL");
    CHECK_FAILED(libqmp_session_new_spawn(no_program, NULL, &error), error, QMP_ERROR_KIND_CONNECT, "/no/such/program");
    options.size = 0;
    CHECK_FAILED(libqmp_session_new(socket_path, &options, &error), error, INVALID, "`options.size` is 0");

    /* The library closes the descriptor in any case, also if it does not use it. */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    CHECK_FAILED(libqmp_session_new_fd(sockets[0], &options, &error), error, INVALID, "`options.size`");
    CHECK(!is_open(sockets[0]));
    CHECK(close(sockets[1]) == 0);
    /* A peer that closes the connection is not a server. */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    CHECK(close(sockets[1]) == 0);
    CHECK_FAILED(libqmp_session_new_fd(sockets[0], NULL, &error), error, QMP_ERROR_KIND_NOT_QMP, "hung up");
    CHECK(!is_open(sockets[0]));
    /* Nor is one that sends no greeting. */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    CHECK(write(sockets[1], "hello\r\n", 7) == 7);
    CHECK_FAILED(libqmp_session_new_fd(sockets[0], NULL, &error), error, QMP_ERROR_KIND_NOT_QMP, "hello");
    CHECK(close(sockets[1]) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    options.size = sizeof(options);
    options.within_ms = 1;
    CHECK_FAILED(libqmp_session_new_fd(sockets[0], &options, &error), error, QMP_ERROR_KIND_NOT_QMP, "no greeting");
    CHECK(close(sockets[1]) == 0);
}

static void check_timeouts(QmpSession *patient, const char *socket_path)
{
    QmpError *error;
    QmpSessionOptions options = QMP_SESSION_OPTIONS_INIT;
    QmpSession *session;
    QmpStopEvent *stop = libqmp_get_stop_event(patient, &error);

    CHECK_OK(stop != NULL, error);
    CHECK_FAILED(libqmp_stop_event_recv(stop, 0, &error), error, QMP_ERROR_KIND_TIMED_OUT, "STOP");
    CHECK_FAILED(libqmp_stop_event_recv(stop, 1, &error), error, QMP_ERROR_KIND_TIMED_OUT, "STOP");
    libqmp_stop_event_free(stop);

    options.timeout_ms = 50;
    session = libqmp_session_new(socket_path, &options, &error);
    CHECK_OK(session != NULL, error);
    CHECK_FAILED(libqmp_quit(session, &error), error, QMP_ERROR_KIND_TIMED_OUT, "quit");
    libqmp_session_free(session);
}

int main(int argc, char **argv)
{
    QmpError *error;
    QmpSession *session;

    CHECK(argc == 2);
    check_frees();
    session = libqmp_session_new_unix(argv[1], &error);
    CHECK_OK(session != NULL, error);
    check_null(session);
    check_members(session);
    check_texts(session);
    check_sessions(argv[1]);
    check_timeouts(session, argv[1]);
    libqmp_session_free(session);
    return 0;
}
