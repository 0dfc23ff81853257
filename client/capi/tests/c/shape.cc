// The same from C++: what is freed by a function is an object with a deleter.

#include <cstdio>
#include <memory>

#include "libqmp.h"

namespace {

struct Free {
    void operator()(QmpSession *session) const { libqmp_session_free(session); }
    void operator()(QmpError *error) const { libqmp_error_free(error); }
    void operator()(QmpStatusInfo *status) const { libqmp_status_info_free(status); }
    void operator()(QmpStopEvent *event) const { libqmp_stop_event_free(event); }
    void operator()(QmpStopOccurrence *occurrence) const { libqmp_stop_occurrence_free(occurrence); }
};

template <typename T> using Owned = std::unique_ptr<T, Free>;

int fail(QmpError *error)
{
    const Owned<QmpError> owned(error);
    std::fprintf(stderr, "%s\n", libqmp_error_message(owned.get()));
    return 1;
}

} // namespace

int main(int argc, char **argv)
{
    QmpError *error = nullptr;
    const Owned<QmpSession> session(libqmp_session_new_unix(argc > 1 ? argv[1] : nullptr, &error));
    if (!session) {
        return fail(error);
    }
    const Owned<QmpStopEvent> stop(libqmp_get_stop_event(session.get(), &error));
    if (!stop || !libqmp_stop(session.get(), &error)) {
        return fail(error);
    }
    const Owned<QmpStopOccurrence> occurrence(libqmp_stop_event_recv(stop.get(), 60 * 1000, &error));
    if (!occurrence) {
        return fail(error);
    }
    const Owned<QmpStatusInfo> status(libqmp_query_status(session.get(), &error));
    if (!status) {
        return fail(error);
    }
    std::printf("%s\n", libqmp_run_state_name(status->status));
    return status->status == QMP_RUN_STATE_PAUSED ? 0 : 1;
}
