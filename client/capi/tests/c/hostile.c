/*
 * A server that violates the schema.
 *
 *     hostile SOCKET
 */
#include "check.h"

static void check_answers(QmpSession *session)
{
    QmpError *error;
    QmpNameInfo *name;
    QmpCommandInfoList *commands;
    size_t index;

    /* A member of another type, an unknown value of an enumeration, a missing member. */
    CHECK_FAILED(libqmp_query_status(session, &error), error, QMP_ERROR_KIND_REPLY, "running");
    CHECK_FAILED(libqmp_query_block(session, &error), error, QMP_ERROR_KIND_REPLY, "io-status");
    CHECK_FAILED(libqmp_query_version(session, &error), error, QMP_ERROR_KIND_REPLY, "qemu");
    /* Unknown members are ignored, and a large answer is complete. */
    name = libqmp_query_name(session, &error);
    CHECK_OK(name != NULL, error);
    CHECK(strlen(name->name) == 200000);
    libqmp_name_info_free(name);
    commands = libqmp_query_commands(session, &error);
    CHECK_OK(commands != NULL, error);
    CHECK(commands->count == 5000);
    for (index = 0; index < commands->count; index++) {
        CHECK(SAME(commands->items[index].name, "x"));
    }
    libqmp_command_info_list_free(commands);
    /* An unknown class keeps its name. */
    CHECK(!libqmp_system_reset(session, &error));
    CHECK(libqmp_error_class(error) == QMP_ERROR_CLASS_OTHER);
    CHECK(SAME(libqmp_error_class_name(error), "Strange"));
    CHECK(SAME(libqmp_error_description(error), "for no reason"));
    libqmp_error_free(error);
}

static void count(const QmpResetOccurrence *occurrence, void *opaque)
{
    uint64_t *lost = opaque;

    CHECK(occurrence->data.reason == QMP_SHUTDOWN_CAUSE_GUEST_RESET);
    *lost += occurrence->lost;
}

/** Of three occurrences the second matches the type. */
static void check_events(QmpSession *session)
{
    QmpError *error;
    QmpResetEvent *fetched = libqmp_get_reset_event(session, &error);
    QmpResetEvent *handled;
    QmpResetOccurrence *occurrence;
    uint64_t lost = 0;

    CHECK_OK(fetched != NULL, error);
    handled = libqmp_get_reset_event(session, &error);
    CHECK_OK(handled != NULL, error);
    CHECK(libqmp_reset_event_connect(handled, count, &lost) != 0);
    CHECK_OK(libqmp_cont(session, &error), error);
    CHECK_FAILED(libqmp_reset_event_recv(fetched, -1, &error), error, QMP_ERROR_KIND_REPLY, "reason");
    occurrence = libqmp_reset_event_recv(fetched, -1, &error);
    CHECK_OK(occurrence != NULL, error);
    CHECK(occurrence->data.guest);
    libqmp_reset_occurrence_free(occurrence);
    CHECK_FAILED(libqmp_reset_event_recv(fetched, -1, &error), error, QMP_ERROR_KIND_REPLY, "guest");
    /* A handler learns how many before it did not match. */
    CHECK_OK(libqmp_session_dispatch(session, &error) >= 0, error);
    CHECK(lost == 1);
    libqmp_reset_event_free(handled);
    libqmp_reset_event_free(fetched);
}

int main(int argc, char **argv)
{
    QmpError *error;
    QmpSession *session;

    CHECK(argc == 2);
    session = libqmp_session_new_unix(argv[1], &error);
    CHECK_OK(session != NULL, error);
    CHECK(!libqmp_session_has_accessors(session));
    check_answers(session);
    check_events(session);
    CHECK_FAILED(libqmp_quit(session, &error), error, QMP_ERROR_KIND_CLOSED, "the server closed it");
    libqmp_session_free(session);
    return 0;
}
