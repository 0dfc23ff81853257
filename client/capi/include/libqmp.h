/*
 * libqmp: the typed QMP client, for C99 and later, and for C++11 and later.
 *
 *     QmpError *error = NULL;
 *     QmpSession *session = libqmp_session_new_unix("/tmp/qmp.sock", &error);
 *     if (session == NULL) {
 *         fprintf(stderr, "%s\n", libqmp_error_message(error));
 *         libqmp_error_free(error);
 *         return 1;
 *     }
 *
 * Link with `pkg-config --cflags --libs libqmp`.
 *
 * The first part of this header is the library's own: errors, sessions, events by name. The rest is generated from the
 * schema:
 *
 *   - A command `query-block` is a function libqmp_query_block(). Its arguments, if it has any, are one structure.
 *   - A type `BlockInfo` is a structure QmpBlockInfo; an array of them is a QmpBlockInfoList. An enumeration
 *     `RunState` is QmpRunState, with constants such as QMP_RUN_STATE_IO_ERROR; libqmp_run_state_name() returns
 *     their names on the wire.
 *   - A member `node-name` is `node_name`. A name that is a keyword of C or C++, or a macro of the C library, has an
 *     underscore appended: `errno_`, `class_`.
 *   - An absent number, boolean or enumeration has a preceding member `has_...` that is false; an absent string,
 *     structure or list is NULL. A structure that would contain itself is a pointer as well.
 *   - A type with branches has them in a union `u`, which the member before it selects; an alternate has a `kind` for
 *     that.
 *   - A value of any type is a string of JSON.
 *   - An event `BLOCK_IO_ERROR` is an object QmpBlockIoErrorEvent, which libqmp_get_block_io_error_event() makes, and
 *     which passes structures QmpBlockIoErrorOccurrence to handlers or to a caller that waits for them.
 *
 * Ownership
 *
 *   - Arguments are the caller's: they are read during the call, not kept, and not changed. The functions that take
 *     ownership are all called ..._free(), except libqmp_session_new_fd().
 *   - A returned object is the caller's, who frees it once, with the function that the documentation names. A
 *     structure is freed as a whole, with everything that it points to; no pointer in it is freed alone. Its contents
 *     are valid until then, and do not depend on the session.
 *   - A handler's argument is the library's, and valid until the handler returns.
 *   - Strings end with a zero byte and are UTF-8. A character U+0000 in a server's string is replaced by U+FFFD; in
 *     JSON, which escapes it, it is left alone.
 *
 * Arguments
 *
 *   - A pointer may be NULL where its documentation says so, and a member of a structure where it says "absent".
 *     NULL in any other place, a string that is not UTF-8, a number that is no value of its enumeration, or a text
 *     that should be JSON and is not: the function does nothing, and fails with QMP_ERROR_KIND_INVALID_ARGUMENT and a
 *     message that names the parameter or the member. The caller must ensure that a pointer is valid, that a list has
 *     its stated length, and that a structure does not contain itself.
 *   - A structure is best made with an initializer that names members (`= { .device = "disk0" }`; in C++, `= {}` and
 *     members set one by one): members that are not named are zero, and optional ones then absent.
 *
 * Errors
 *
 *   - A function that can fail has `QmpError **error` for its last parameter. It may be NULL.
 *     Otherwise `*error` is always written, whatever its value was: NULL on success, or an error that the caller frees
 *     with libqmp_error_free().
 *
 * Threads
 *
 *   - Every function can be called from any thread. Calls of several threads on one session or object are in flight
 *     together, as long as none of them frees what another one uses. The library starts no thread.
 *   - Handlers run within libqmp_session_dispatch(), in the thread that calls it, and one at a time; never within
 *     another function. A handler may call any function of this header, may disconnect itself or others, and may
 *     free the object that it was called for, the session, and both. It must return: longjmp() and C++ exceptions
 *     must not leave it.
 *   - After fork() only the process that made a session may use it.
 *
 * Lifetimes
 *
 *   - A session can be freed before its event objects. They hold the connection, which ends with the last of them:
 *     libqmp_..._event_recv() keeps working; handlers no longer run, as there is no session to dispatch with.
 *   - When the connection is lost, every waiting and every later call fails at once with QMP_ERROR_KIND_CLOSED;
 *     occurrences received before can still be taken. Everything has to be freed all the same.
 */
#ifndef LIBQMP_H
#define LIBQMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -----------------------------------------------------------------------------
 * Errors
 * ----------------------------------------------------------------------------- */

/** Why a function failed. */
typedef struct QmpError QmpError;

/** The kind of a failure. */
typedef enum QmpErrorKind {
    /** None: the error was NULL. */
    QMP_ERROR_KIND_NONE = 0,
    /** An argument is one that the documentation does not allow. */
    QMP_ERROR_KIND_INVALID_ARGUMENT = 1,
    /** No connection could be made, or the program could not be started. */
    QMP_ERROR_KIND_CONNECT = 2,
    /** The peer is not a QMP server, or closed the connection before this was known. */
    QMP_ERROR_KIND_NOT_QMP = 3,
    /** The server refused the command; libqmp_error_class() and libqmp_error_description() say why. */
    QMP_ERROR_KIND_COMMAND = 4,
    /** The server's answer or event does not match its type in the schema. */
    QMP_ERROR_KIND_REPLY = 5,
    /** A wait exceeded its limit. */
    QMP_ERROR_KIND_TIMED_OUT = 6,
    /** The connection has ended. */
    QMP_ERROR_KIND_CLOSED = 7,
    /** The server has no such event. */
    QMP_ERROR_KIND_EVENT_NOT_FOUND = 8,
    /** The operating system or this library failed. */
    QMP_ERROR_KIND_INTERNAL = 9
} QmpErrorKind;

/** The class of a server's error. */
typedef enum QmpErrorClass {
    /** None: the server did not refuse a command. */
    QMP_ERROR_CLASS_NONE = 0,
    /** Any failure without a class of its own. */
    QMP_ERROR_CLASS_GENERIC_ERROR = 1,
    /** There is no such command, or not in this state. */
    QMP_ERROR_CLASS_COMMAND_NOT_FOUND = 2,
    /** There is no such device. */
    QMP_ERROR_CLASS_DEVICE_NOT_FOUND = 3,
    /** The device is not in use. */
    QMP_ERROR_CLASS_DEVICE_NOT_ACTIVE = 4,
    /** The host's KVM cannot do it. */
    QMP_ERROR_CLASS_KVM_MISSING_CAP = 5,
    /** A value of the right type that names nothing. */
    QMP_ERROR_CLASS_INVALID_PARAMETER_VALUE = 6,
    /** A class that this library does not know; libqmp_error_class_name() returns its name. */
    QMP_ERROR_CLASS_OTHER = 7
} QmpErrorClass;

/** The kind of failure. `error` may be NULL. */
QmpErrorKind libqmp_error_kind(const QmpError *error);

/** The server's class. `error` may be NULL. */
QmpErrorClass libqmp_error_class(const QmpError *error);

/** The class as it is on the wire, or NULL if there is none. It is the error's. `error` may be NULL. */
const char *libqmp_error_class_name(const QmpError *error);

/** The failure in a line, for people. It is the error's. NULL for NULL. */
const char *libqmp_error_message(const QmpError *error);

/** The server's description, without the class; if the failure is not the server's, the message. It is the error's. NULL
 * for NULL. */
const char *libqmp_error_description(const QmpError *error);

/** Frees an error. `error` may be NULL. */
void libqmp_error_free(QmpError *error);

/* -----------------------------------------------------------------------------
 * Sessions
 * ----------------------------------------------------------------------------- */

/** A connection to a server. */
typedef struct QmpSession QmpSession;

/** Options of a session. Initialize them with QMP_SESSION_OPTIONS_INIT and set what differs. */
typedef struct QmpSessionOptions {
    /** The size of this structure, which later versions may extend. */
    size_t size;
    /**
     * The limit for each call in milliseconds, and without `within_ms` for connecting and the greeting, too; 0 for none.
     * A later answer is ignored.
     */
    uint64_t timeout_ms;
    /**
     * For how many milliseconds to retry connecting, to a server that has yet to start, and the limit for its greeting;
     * 0 for one attempt, and for the greeting `timeout_ms`, or ten seconds.
     */
    uint64_t within_ms;
} QmpSessionOptions;

/** The default options. */
#define QMP_SESSION_OPTIONS_INIT { sizeof(QmpSessionOptions), 0, 0 }

/**
 * Connects to the unix socket of a server, and negotiates with it.
 *
 * The caller owns the session and frees it with libqmp_session_free(). NULL and `*error` on failure.
 */
QmpSession *libqmp_session_new_unix(const char *path, QmpError **error);

/**
 * Connects to `unix:PATH`, to `tcp:HOST:PORT`, or to a path: anything that begins like
 * neither. `options` may be NULL.
 *
 * The caller owns the session and frees it with libqmp_session_free(). NULL and `*error` on failure.
 */
QmpSession *libqmp_session_new(const char *address, const QmpSessionOptions *options, QmpError **error);

/**
 * Makes a session of a stream socket that is connected to a server. `options` may be NULL.
 *
 * The library takes the descriptor and closes it, also on failure. A descriptor that is not open is refused.
 *
 * The caller owns the session and frees it with libqmp_session_free(). NULL and `*error` on failure.
 */
QmpSession *libqmp_session_new_fd(int fd, const QmpSessionOptions *options, QmpError **error);

/**
 * Starts a program that serves only this session, on an inherited socket that `--qmp fd:N`, appended to its arguments,
 * names, as for Faultvisor. `argv` is the program, its arguments, and NULL; a program without a slash is looked up in
 * PATH. `options` may be NULL.
 *
 * The program ends with the connection. The caller owns the session and frees it with libqmp_session_free(). NULL and
 * `*error` on failure.
 */
QmpSession *libqmp_session_new_spawn(char *const argv[], const QmpSessionOptions *options, QmpError **error);

/*
 * A program whose enumerations are smaller than the library's (-fshort-enums) does not compile. This is a macro, so that
 * the preprocessed header consists of declarations that other languages can read.
 */
#define LIBQMP_ENUMERATIONS_ARE_INTS ((void)sizeof(char[sizeof(QmpErrorKind) == sizeof(int) ? 1 : -1]))
#define libqmp_session_new_unix(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new_unix(__VA_ARGS__))
#define libqmp_session_new(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new(__VA_ARGS__))
#define libqmp_session_new_fd(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new_fd(__VA_ARGS__))
#define libqmp_session_new_spawn(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new_spawn(__VA_ARGS__))

/** Whether the server has accessors of events. If it has none, like QEMU, event objects use the events that it sends by
 * default. False for NULL. */
bool libqmp_session_has_accessors(const QmpSession *session);

/**
 * A descriptor to poll() for POLLIN: readable whenever libqmp_session_dispatch() has something to do, and when the
 * connection has ended. It is the session's, and must only be waited for. -1 for NULL.
 */
int libqmp_session_fd(const QmpSession *session);

/**
 * Reads what the server has sent, without waiting, and runs the handlers of the occurrences, in this thread. Called from
 * a handler, or while another thread dispatches, it does nothing.
 *
 * Returns the number of occurrences passed to handlers; -1 and `*error`, of kind QMP_ERROR_KIND_CLOSED, if the connection
 * has ended and all occurrences before its end have been dispatched.
 */
int64_t libqmp_session_dispatch(QmpSession *session, QmpError **error);

/** Ends the connection: every waiting call, in any thread, and every later one fails with QMP_ERROR_KIND_CLOSED. The
 * session has to be freed all the same. `session` may be NULL. */
void libqmp_session_close(QmpSession *session);

/** Frees a session. The connection ends if no event object is left. `session` may be NULL. */
void libqmp_session_free(QmpSession *session);

/**
 * Executes any command, whether or not this header has it. `arguments` is a JSON object, or NULL for none.
 *
 * The caller owns the answer, JSON, and frees it with libqmp_string_free(). NULL and `*error` on failure.
 */
char *libqmp_execute_raw(QmpSession *session, const char *command, const char *arguments, QmpError **error);

/** The same out of band, ahead of earlier commands. The server must permit it for the command. */
char *libqmp_execute_raw_out_of_band(QmpSession *session, const char *command, const char *arguments, QmpError **error);

/** Frees a string that a function of this header returned to the caller. `text` may be NULL. */
void libqmp_string_free(char *text);

/* -----------------------------------------------------------------------------
 * Events by name
 * ----------------------------------------------------------------------------- */

/** When an event was raised, by the server's clock. */
typedef struct QmpTimestamp {
    /** Seconds since 1970. */
    int64_t seconds;
    /** Microseconds beyond these. */
    int64_t microseconds;
} QmpTimestamp;

/** The data of an event by name. */
typedef struct QmpRawEventData {
    /** Its name, such as "BLOCK_IO_ERROR". */
    const char *name;
    /** Its data, a JSON object. */
    const char *json;
} QmpRawEventData;

/** An occurrence of such an event. */
typedef struct QmpRawOccurrence {
    /** When it was raised, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this replays the current state, as `initial` asked for. */
    bool initial;
    /** How many were lost before this one: they were not taken in time, or did not match their type. */
    uint64_t lost;
    /** Its data. */
    QmpRawEventData data;
} QmpRawOccurrence;

/** A connection to one event, or to all of them, with data as JSON, from libqmp_get_event() or libqmp_any_event() to
 * libqmp_raw_event_free(). */
typedef struct QmpRawEvent QmpRawEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_raw_event_connect() was called with.
 */
typedef void (*QmpRawEventHandler)(const QmpRawOccurrence *occurrence, void *opaque);

/**
 * Connects to an event by its name, whether or not this header has it. `device`: only events about this device, or NULL
 * for all. `initial`: whether the current state, if there is one, is the first occurrence.
 *
 * The caller owns the object and frees it with libqmp_raw_event_free(). NULL and `*error` on failure.
 */
QmpRawEvent *libqmp_get_event(QmpSession *session, const char *name, const char *device, bool initial, QmpError **error);

/** Connects to every event of the server. The caller owns the object and frees it with libqmp_raw_event_free(). NULL
 * and `*error` on failure. */
QmpRawEvent *libqmp_any_event(QmpSession *session, QmpError **error);

/** Adds a handler, and returns its number for libqmp_raw_event_disconnect(). 0 if `event` or `handler` is NULL. */
uint64_t libqmp_raw_event_connect(QmpRawEvent *event, QmpRawEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_raw_event_disconnect(QmpRawEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number waits without a limit.
 * While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_raw_occurrence_free(). NULL and `*error` if there is none, of
 * kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpRawOccurrence *libqmp_raw_event_recv(QmpRawEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_raw_event_recv() returned. `occurrence` may be NULL. */
void libqmp_raw_occurrence_free(QmpRawOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs in another thread. A
 * handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_raw_event_free(QmpRawEvent *event);

/** The value `null`. Its content has no meaning. */
typedef uint8_t QmpNull;

/* -----------------------------------------------------------------------------
 * Enumerations
 * ----------------------------------------------------------------------------- */

/**
 * A capability that a client can enable during negotiation.  The greeting lists those that the
 * server offers.
 *
 * Since 0.1.
 */
typedef enum QmpQMPCapability {
    /** commands that permit it can be executed out of band, ahead of those that wait */
    QMP_QMP_CAPABILITY_OOB = 0,
    /** requests can be subscriptions to events */
    QMP_QMP_CAPABILITY_SUBSCRIBE = 1,
    /** objects in answers carry their class and identity, and have signals to connect to */
    QMP_QMP_CAPABILITY_CLASS_HINTS = 2
} QmpQMPCapability;

/**
 * The name of a value of QmpQMPCapability on the wire. It is the library's and lives as long as the
 * program. NULL if there is no such value.
 */
const char *libqmp_qmp_capability_name(QmpQMPCapability value);

/**
 * The kind of a description.
 *
 * Since 0.1.
 */
typedef enum QmpSchemaMetaType {
    /** a type of the language, such as a string */
    QMP_SCHEMA_META_TYPE_BUILTIN = 0,
    /** a type with a value from a list */
    QMP_SCHEMA_META_TYPE_ENUM = 1,
    /** a list of values of one type */
    QMP_SCHEMA_META_TYPE_ARRAY = 2,
    /** a type with members */
    QMP_SCHEMA_META_TYPE_OBJECT = 3,
    /** a type that is one of several */
    QMP_SCHEMA_META_TYPE_ALTERNATE = 4,
    /** a command */
    QMP_SCHEMA_META_TYPE_COMMAND = 5,
    /** an event */
    QMP_SCHEMA_META_TYPE_EVENT = 6
} QmpSchemaMetaType;

/**
 * The name of a value of QmpSchemaMetaType on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_schema_meta_type_name(QmpSchemaMetaType value);

/**
 * The type of a value in JSON.
 *
 * Since 0.1.
 */
typedef enum QmpJSONType {
    /** a string */
    QMP_JSON_TYPE_STRING = 0,
    /** a number of any kind */
    QMP_JSON_TYPE_NUMBER = 1,
    /** a number without a fraction */
    QMP_JSON_TYPE_INT = 2,
    /** true or false */
    QMP_JSON_TYPE_BOOLEAN = 3,
    /** null */
    QMP_JSON_TYPE_NULL = 4,
    /** an object */
    QMP_JSON_TYPE_OBJECT = 5,
    /** an array */
    QMP_JSON_TYPE_ARRAY = 6,
    /** any of these */
    QMP_JSON_TYPE_VALUE = 7
} QmpJSONType;

/**
 * The name of a value of QmpJSONType on the wire. It is the library's and lives as long as the
 * program. NULL if there is no such value.
 */
const char *libqmp_json_type_name(QmpJSONType value);

/**
 * The state of the machine.  The values are QEMU's; those marked "never here" do not occur.
 *
 * Since 0.1.
 */
typedef enum QmpRunState {
    /** stopped by a debugger */
    QMP_RUN_STATE_DEBUG = 0,
    /** waiting for an incoming migration; never here */
    QMP_RUN_STATE_INMIGRATE = 1,
    /** stopped because KVM could not continue, or a reset failed */
    QMP_RUN_STATE_INTERNAL_ERROR = 2,
    /** stopped by the error policy of a disk */
    QMP_RUN_STATE_IO_ERROR = 3,
    /** stopped by the command libqmp_stop() */
    QMP_RUN_STATE_PAUSED = 4,
    /** stopped after a migration; never here */
    QMP_RUN_STATE_POSTMIGRATE = 5,
    /** not started yet */
    QMP_RUN_STATE_PRELAUNCH = 6,
    /** stopped at the end of a migration; never here */
    QMP_RUN_STATE_FINISH_MIGRATE = 7,
    /** stopped to restore a saved state; never here */
    QMP_RUN_STATE_RESTORE_VM = 8,
    /** the vCPUs run */
    QMP_RUN_STATE_RUNNING = 9,
    /** stopped to save its state; never here */
    QMP_RUN_STATE_SAVE_VM = 10,
    /** the guest has shut down, and the action is pause */
    QMP_RUN_STATE_SHUTDOWN = 11,
    /** the guest sleeps; never here */
    QMP_RUN_STATE_SUSPENDED = 12,
    /** stopped by a watchdog; never here */
    QMP_RUN_STATE_WATCHDOG = 13,
    /** the guest has panicked */
    QMP_RUN_STATE_GUEST_PANICKED = 14,
    /** stopped for a COLO checkpoint; never here */
    QMP_RUN_STATE_COLO = 15
} QmpRunState;

/**
 * The name of a value of QmpRunState on the wire. It is the library's and lives as long as the
 * program. NULL if there is no such value.
 */
const char *libqmp_run_state_name(QmpRunState value);

/**
 * Why the machine shut down or was reset.
 *
 * Since 0.1.
 */
typedef enum QmpShutdownCause {
    /** no cause yet */
    QMP_SHUTDOWN_CAUSE_NONE = 0,
    /** the host failed */
    QMP_SHUTDOWN_CAUSE_HOST_ERROR = 1,
    /** a client executed libqmp_quit() */
    QMP_SHUTDOWN_CAUSE_HOST_QMP_QUIT = 2,
    /** a client executed libqmp_system_reset() */
    QMP_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET = 3,
    /** the program received a signal, such as SIGTERM */
    QMP_SHUTDOWN_CAUSE_HOST_SIGNAL = 4,
    /** the user asked for it on the console */
    QMP_SHUTDOWN_CAUSE_HOST_UI = 5,
    /** the guest shut down */
    QMP_SHUTDOWN_CAUSE_GUEST_SHUTDOWN = 6,
    /** the guest reset itself */
    QMP_SHUTDOWN_CAUSE_GUEST_RESET = 7,
    /** the guest panicked */
    QMP_SHUTDOWN_CAUSE_GUEST_PANIC = 8,
    /** a subsystem was reset */
    QMP_SHUTDOWN_CAUSE_SUBSYSTEM_RESET = 9,
    /** a saved state was restored */
    QMP_SHUTDOWN_CAUSE_SNAPSHOT_LOAD = 10
} QmpShutdownCause;

/**
 * The name of a value of QmpShutdownCause on the wire. It is the library's and lives as long as the
 * program. NULL if there is no such value.
 */
const char *libqmp_shutdown_cause_name(QmpShutdownCause value);

/**
 * The response to a reset, by the guest or by a client.
 *
 * Since 0.1.
 */
typedef enum QmpRebootAction {
    /** reset the machine */
    QMP_REBOOT_ACTION_RESET = 0,
    /** the response to a shutdown */
    QMP_REBOOT_ACTION_SHUTDOWN = 1
} QmpRebootAction;

/**
 * The name of a value of QmpRebootAction on the wire. It is the library's and lives as long as the
 * program. NULL if there is no such value.
 */
const char *libqmp_reboot_action_name(QmpRebootAction value);

/**
 * The response to a shutdown by the guest.
 *
 * Since 0.1.
 */
typedef enum QmpShutdownAction {
    /** the program ends */
    QMP_SHUTDOWN_ACTION_POWEROFF = 0,
    /** the machine stops in state shutdown */
    QMP_SHUTDOWN_ACTION_PAUSE = 1
} QmpShutdownAction;

/**
 * The name of a value of QmpShutdownAction on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_shutdown_action_name(QmpShutdownAction value);

/**
 * The response to a panic of the guest.
 *
 * Since 0.1.
 */
typedef enum QmpPanicAction {
    /** stop in state guest-panicked */
    QMP_PANIC_ACTION_PAUSE = 0,
    /** the response to a shutdown */
    QMP_PANIC_ACTION_SHUTDOWN = 1,
    /** the program ends with status 1 */
    QMP_PANIC_ACTION_EXIT_FAILURE = 2,
    /** nothing; the guest continues */
    QMP_PANIC_ACTION_NONE = 3
} QmpPanicAction;

/**
 * The name of a value of QmpPanicAction on the wire. It is the library's and lives as long as the
 * program. NULL if there is no such value.
 */
const char *libqmp_panic_action_name(QmpPanicAction value);

/**
 * The response to a watchdog that expires.
 *
 * Since 0.1.
 */
typedef enum QmpWatchdogAction {
    /** reset the machine */
    QMP_WATCHDOG_ACTION_RESET = 0,
    /** press the power button */
    QMP_WATCHDOG_ACTION_SHUTDOWN = 1,
    /** end the program */
    QMP_WATCHDOG_ACTION_POWEROFF = 2,
    /** stop the machine */
    QMP_WATCHDOG_ACTION_PAUSE = 3,
    /** stop the machine as a debugger would */
    QMP_WATCHDOG_ACTION_DEBUG = 4,
    /** nothing */
    QMP_WATCHDOG_ACTION_NONE = 5,
    /** inject an NMI into every vCPU */
    QMP_WATCHDOG_ACTION_INJECT_NMI = 6
} QmpWatchdogAction;

/**
 * The name of a value of QmpWatchdogAction on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_watchdog_action_name(QmpWatchdogAction value);

/**
 * The response to the guest's report.
 *
 * Feature `replayed`: An event with this action is replayed to late subscribers.
 *
 * Since 0.1.
 */
typedef enum QmpGuestPanicAction {
    /** it stopped */
    QMP_GUEST_PANIC_ACTION_PAUSE = 0,
    /** it shut down */
    QMP_GUEST_PANIC_ACTION_POWEROFF = 1,
    /** nothing */
    QMP_GUEST_PANIC_ACTION_RUN = 2
} QmpGuestPanicAction;

/**
 * The name of a value of QmpGuestPanicAction on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_guest_panic_action_name(QmpGuestPanicAction value);

/**
 * The architecture of a machine's processors.
 *
 * Since 0.1.
 */
typedef enum QmpSysEmuTarget {
    /** x86-64 */
    QMP_SYS_EMU_TARGET_X86_64 = 0
} QmpSysEmuTarget;

/**
 * The name of a value of QmpSysEmuTarget on the wire. It is the library's and lives as long as the
 * program. NULL if there is no such value.
 */
const char *libqmp_sys_emu_target_name(QmpSysEmuTarget value);

/**
 * A disk's state with respect to requests that stopped the machine.
 *
 * Since 0.1.
 */
typedef enum QmpBlockDeviceIoStatus {
    /** no request is held; the last one, if any, has been resubmitted */
    QMP_BLOCK_DEVICE_IO_STATUS_OK = 0,
    /** a request is held after an error */
    QMP_BLOCK_DEVICE_IO_STATUS_FAILED = 1,
    /** a request is held because the host has no space left */
    QMP_BLOCK_DEVICE_IO_STATUS_NOSPACE = 2
} QmpBlockDeviceIoStatus;

/**
 * The name of a value of QmpBlockDeviceIoStatus on the wire. It is the library's and lives as long
 * as the program. NULL if there is no such value.
 */
const char *libqmp_block_device_io_status_name(QmpBlockDeviceIoStatus value);

/**
 * How writes of zeroes are detected and optimized.
 *
 * Since 0.1.
 */
typedef enum QmpBlockdevDetectZeroesOptions {
    /** they are not */
    QMP_BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF = 0,
    /** they become write-zeroes requests */
    QMP_BLOCKDEV_DETECT_ZEROES_OPTIONS_ON = 1,
    /** they become discards where discarded ranges read as zeroes */
    QMP_BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP = 2
} QmpBlockdevDetectZeroesOptions;

/**
 * The name of a value of QmpBlockdevDetectZeroesOptions on the wire. It is the library's and lives
 * as long as the program. NULL if there is no such value.
 */
const char *libqmp_blockdev_detect_zeroes_options_name(QmpBlockdevDetectZeroesOptions value);

/**
 * The operation of a failed request.
 *
 * Since 0.1.
 */
typedef enum QmpIoOperationType {
    /** a read */
    QMP_IO_OPERATION_TYPE_READ = 0,
    /** a write, a flush, a discard or a write-zeroes */
    QMP_IO_OPERATION_TYPE_WRITE = 1
} QmpIoOperationType;

/**
 * The name of a value of QmpIoOperationType on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_io_operation_type_name(QmpIoOperationType value);

/**
 * What the error policy did with a failed request.
 *
 * Feature `replayed`: An event with this action is replayed to late subscribers.
 *
 * Since 0.1.
 */
typedef enum QmpBlockErrorAction {
    /** the guest was told that it succeeded */
    QMP_BLOCK_ERROR_ACTION_IGNORE = 0,
    /** the guest was told that it failed */
    QMP_BLOCK_ERROR_ACTION_REPORT = 1,
    /** the request is held, and the machine stops */
    QMP_BLOCK_ERROR_ACTION_STOP = 2
} QmpBlockErrorAction;

/**
 * The name of a value of QmpBlockErrorAction on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_block_error_action_name(QmpBlockErrorAction value);

/**
 * The operation of a request.
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultOperation {
    /** reads data */
    QMP_BLOCK_FAULT_OPERATION_READ = 0,
    /** writes data */
    QMP_BLOCK_FAULT_OPERATION_WRITE = 1,
    /** makes complete writes durable */
    QMP_BLOCK_FAULT_OPERATION_FLUSH = 2,
    /** frees a range whose content is no longer needed */
    QMP_BLOCK_FAULT_OPERATION_DISCARD = 3,
    /** makes a range read as zeroes */
    QMP_BLOCK_FAULT_OPERATION_WRITE_ZEROES = 4
} QmpBlockFaultOperation;

/**
 * The name of a value of QmpBlockFaultOperation on the wire. It is the library's and lives as long
 * as the program. NULL if there is no such value.
 */
const char *libqmp_block_fault_operation_name(QmpBlockFaultOperation value);

/**
 * What a rule does with a request.
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultActionType {
    /**
     * it fails.  The error is handled like every other: the disk's error policy (rerror, werror)
     * decides what the guest is told, and BLOCK_IO_ERROR is raised.
     */
    QMP_BLOCK_FAULT_ACTION_TYPE_ERROR = 0,
    /** it is performed later; others overtake it */
    QMP_BLOCK_FAULT_ACTION_TYPE_DELAY = 1,
    /** it hangs until libqmp_block_fault_release() */
    QMP_BLOCK_FAULT_ACTION_TYPE_HANG = 2,
    /** the data that a read returns, or that a write stores, are altered */
    QMP_BLOCK_FAULT_ACTION_TYPE_CORRUPT = 3,
    /** only some of the sectors of a write reach the disk */
    QMP_BLOCK_FAULT_ACTION_TYPE_TORN = 4,
    /** it is reported as complete and not performed.  Not for reads. */
    QMP_BLOCK_FAULT_ACTION_TYPE_DROP = 5,
    /** a read or a write is performed at another place */
    QMP_BLOCK_FAULT_ACTION_TYPE_MISDIRECT = 6,
    /** sets the state of the disk's rules from the next request on */
    QMP_BLOCK_FAULT_ACTION_TYPE_SET_STATE = 7,
    /** the machine stops before the request is performed, and libqmp_cont() performs it */
    QMP_BLOCK_FAULT_ACTION_TYPE_STOP = 8,
    /** the power fails before the request is performed */
    QMP_BLOCK_FAULT_ACTION_TYPE_POWER_CUT = 9
} QmpBlockFaultActionType;

/**
 * The name of a value of QmpBlockFaultActionType on the wire. It is the library's and lives as long
 * as the program. NULL if there is no such value.
 */
const char *libqmp_block_fault_action_type_name(QmpBlockFaultActionType value);

/**
 * The names of the host's errors, as in errno(3).
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultErrnoName {
    /** Operation not permitted */
    QMP_BLOCK_FAULT_ERRNO_NAME_EPERM = 0,
    /** No such file or directory */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOENT = 1,
    /** No such process */
    QMP_BLOCK_FAULT_ERRNO_NAME_ESRCH = 2,
    /** Interrupted system call */
    QMP_BLOCK_FAULT_ERRNO_NAME_EINTR = 3,
    /** Input/output error */
    QMP_BLOCK_FAULT_ERRNO_NAME_EIO = 4,
    /** No such device or address */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENXIO = 5,
    /** Argument list too long */
    QMP_BLOCK_FAULT_ERRNO_NAME_E2BIG = 6,
    /** Exec format error */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOEXEC = 7,
    /** Bad file descriptor */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBADF = 8,
    /** No child processes */
    QMP_BLOCK_FAULT_ERRNO_NAME_ECHILD = 9,
    /** Resource temporarily unavailable */
    QMP_BLOCK_FAULT_ERRNO_NAME_EAGAIN = 10,
    /** Cannot allocate memory */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOMEM = 11,
    /** Permission denied */
    QMP_BLOCK_FAULT_ERRNO_NAME_EACCES = 12,
    /** Bad address */
    QMP_BLOCK_FAULT_ERRNO_NAME_EFAULT = 13,
    /** Block device required */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTBLK = 14,
    /** Device or resource busy */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBUSY = 15,
    /** File exists */
    QMP_BLOCK_FAULT_ERRNO_NAME_EEXIST = 16,
    /** Invalid cross-device link */
    QMP_BLOCK_FAULT_ERRNO_NAME_EXDEV = 17,
    /** No such device */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENODEV = 18,
    /** Not a directory */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTDIR = 19,
    /** Is a directory */
    QMP_BLOCK_FAULT_ERRNO_NAME_EISDIR = 20,
    /** Invalid argument */
    QMP_BLOCK_FAULT_ERRNO_NAME_EINVAL = 21,
    /** Too many open files in system */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENFILE = 22,
    /** Too many open files */
    QMP_BLOCK_FAULT_ERRNO_NAME_EMFILE = 23,
    /** Inappropriate ioctl for device */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTTY = 24,
    /** Text file busy */
    QMP_BLOCK_FAULT_ERRNO_NAME_ETXTBSY = 25,
    /** File too large */
    QMP_BLOCK_FAULT_ERRNO_NAME_EFBIG = 26,
    /** No space left on device */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOSPC = 27,
    /** Illegal seek */
    QMP_BLOCK_FAULT_ERRNO_NAME_ESPIPE = 28,
    /** Read-only file system */
    QMP_BLOCK_FAULT_ERRNO_NAME_EROFS = 29,
    /** Too many links */
    QMP_BLOCK_FAULT_ERRNO_NAME_EMLINK = 30,
    /** Broken pipe */
    QMP_BLOCK_FAULT_ERRNO_NAME_EPIPE = 31,
    /** Numerical argument out of domain */
    QMP_BLOCK_FAULT_ERRNO_NAME_EDOM = 32,
    /** Numerical result out of range */
    QMP_BLOCK_FAULT_ERRNO_NAME_ERANGE = 33,
    /** Resource deadlock avoided */
    QMP_BLOCK_FAULT_ERRNO_NAME_EDEADLK = 34,
    /** File name too long */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENAMETOOLONG = 35,
    /** No locks available */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOLCK = 36,
    /** Function not implemented */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOSYS = 37,
    /** Directory not empty */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTEMPTY = 38,
    /** Too many levels of symbolic links */
    QMP_BLOCK_FAULT_ERRNO_NAME_ELOOP = 39,
    /** No message of desired type */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOMSG = 40,
    /** Identifier removed */
    QMP_BLOCK_FAULT_ERRNO_NAME_EIDRM = 41,
    /** Channel number out of range */
    QMP_BLOCK_FAULT_ERRNO_NAME_ECHRNG = 42,
    /** Level 2 not synchronized */
    QMP_BLOCK_FAULT_ERRNO_NAME_EL2NSYNC = 43,
    /** Level 3 halted */
    QMP_BLOCK_FAULT_ERRNO_NAME_EL3HLT = 44,
    /** Level 3 reset */
    QMP_BLOCK_FAULT_ERRNO_NAME_EL3RST = 45,
    /** Link number out of range */
    QMP_BLOCK_FAULT_ERRNO_NAME_ELNRNG = 46,
    /** Protocol driver not attached */
    QMP_BLOCK_FAULT_ERRNO_NAME_EUNATCH = 47,
    /** No CSI structure available */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOCSI = 48,
    /** Level 2 halted */
    QMP_BLOCK_FAULT_ERRNO_NAME_EL2HLT = 49,
    /** Invalid exchange */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBADE = 50,
    /** Invalid request descriptor */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBADR = 51,
    /** Exchange full */
    QMP_BLOCK_FAULT_ERRNO_NAME_EXFULL = 52,
    /** No anode */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOANO = 53,
    /** Invalid request code */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBADRQC = 54,
    /** Invalid slot */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBADSLT = 55,
    /** Bad font file format */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBFONT = 56,
    /** Device not a stream */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOSTR = 57,
    /** No data available */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENODATA = 58,
    /** Timer expired */
    QMP_BLOCK_FAULT_ERRNO_NAME_ETIME = 59,
    /** Out of streams resources */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOSR = 60,
    /** Machine is not on the network */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENONET = 61,
    /** Package not installed */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOPKG = 62,
    /** Object is remote */
    QMP_BLOCK_FAULT_ERRNO_NAME_EREMOTE = 63,
    /** Link has been severed */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOLINK = 64,
    /** Advertise error */
    QMP_BLOCK_FAULT_ERRNO_NAME_EADV = 65,
    /** Srmount error */
    QMP_BLOCK_FAULT_ERRNO_NAME_ESRMNT = 66,
    /** Communication error on send */
    QMP_BLOCK_FAULT_ERRNO_NAME_ECOMM = 67,
    /** Protocol error */
    QMP_BLOCK_FAULT_ERRNO_NAME_EPROTO = 68,
    /** Multihop attempted */
    QMP_BLOCK_FAULT_ERRNO_NAME_EMULTIHOP = 69,
    /** RFS specific error */
    QMP_BLOCK_FAULT_ERRNO_NAME_EDOTDOT = 70,
    /** Bad message */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBADMSG = 71,
    /** Value too large for defined data type */
    QMP_BLOCK_FAULT_ERRNO_NAME_EOVERFLOW = 72,
    /** Name not unique on network */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTUNIQ = 73,
    /** File descriptor in bad state */
    QMP_BLOCK_FAULT_ERRNO_NAME_EBADFD = 74,
    /** Remote address changed */
    QMP_BLOCK_FAULT_ERRNO_NAME_EREMCHG = 75,
    /** Can not access a needed shared library */
    QMP_BLOCK_FAULT_ERRNO_NAME_ELIBACC = 76,
    /** Accessing a corrupted shared library */
    QMP_BLOCK_FAULT_ERRNO_NAME_ELIBBAD = 77,
    /** .lib section in a.out corrupted */
    QMP_BLOCK_FAULT_ERRNO_NAME_ELIBSCN = 78,
    /** Attempting to link in too many shared libraries */
    QMP_BLOCK_FAULT_ERRNO_NAME_ELIBMAX = 79,
    /** Cannot exec a shared library directly */
    QMP_BLOCK_FAULT_ERRNO_NAME_ELIBEXEC = 80,
    /** Invalid or incomplete multibyte or wide character */
    QMP_BLOCK_FAULT_ERRNO_NAME_EILSEQ = 81,
    /** Interrupted system call should be restarted */
    QMP_BLOCK_FAULT_ERRNO_NAME_ERESTART = 82,
    /** Streams pipe error */
    QMP_BLOCK_FAULT_ERRNO_NAME_ESTRPIPE = 83,
    /** Too many users */
    QMP_BLOCK_FAULT_ERRNO_NAME_EUSERS = 84,
    /** Socket operation on non-socket */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTSOCK = 85,
    /** Destination address required */
    QMP_BLOCK_FAULT_ERRNO_NAME_EDESTADDRREQ = 86,
    /** Message too long */
    QMP_BLOCK_FAULT_ERRNO_NAME_EMSGSIZE = 87,
    /** Protocol wrong type for socket */
    QMP_BLOCK_FAULT_ERRNO_NAME_EPROTOTYPE = 88,
    /** Protocol not available */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOPROTOOPT = 89,
    /** Protocol not supported */
    QMP_BLOCK_FAULT_ERRNO_NAME_EPROTONOSUPPORT = 90,
    /** Socket type not supported */
    QMP_BLOCK_FAULT_ERRNO_NAME_ESOCKTNOSUPPORT = 91,
    /** Operation not supported */
    QMP_BLOCK_FAULT_ERRNO_NAME_EOPNOTSUPP = 92,
    /** Protocol family not supported */
    QMP_BLOCK_FAULT_ERRNO_NAME_EPFNOSUPPORT = 93,
    /** Address family not supported by protocol */
    QMP_BLOCK_FAULT_ERRNO_NAME_EAFNOSUPPORT = 94,
    /** Address already in use */
    QMP_BLOCK_FAULT_ERRNO_NAME_EADDRINUSE = 95,
    /** Cannot assign requested address */
    QMP_BLOCK_FAULT_ERRNO_NAME_EADDRNOTAVAIL = 96,
    /** Network is down */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENETDOWN = 97,
    /** Network is unreachable */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENETUNREACH = 98,
    /** Network dropped connection on reset */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENETRESET = 99,
    /** Software caused connection abort */
    QMP_BLOCK_FAULT_ERRNO_NAME_ECONNABORTED = 100,
    /** Connection reset by peer */
    QMP_BLOCK_FAULT_ERRNO_NAME_ECONNRESET = 101,
    /** No buffer space available */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOBUFS = 102,
    /** Transport endpoint is already connected */
    QMP_BLOCK_FAULT_ERRNO_NAME_EISCONN = 103,
    /** Transport endpoint is not connected */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTCONN = 104,
    /** Cannot send after transport endpoint shutdown */
    QMP_BLOCK_FAULT_ERRNO_NAME_ESHUTDOWN = 105,
    /** Too many references: cannot splice */
    QMP_BLOCK_FAULT_ERRNO_NAME_ETOOMANYREFS = 106,
    /** Connection timed out */
    QMP_BLOCK_FAULT_ERRNO_NAME_ETIMEDOUT = 107,
    /** Connection refused */
    QMP_BLOCK_FAULT_ERRNO_NAME_ECONNREFUSED = 108,
    /** Host is down */
    QMP_BLOCK_FAULT_ERRNO_NAME_EHOSTDOWN = 109,
    /** No route to host */
    QMP_BLOCK_FAULT_ERRNO_NAME_EHOSTUNREACH = 110,
    /** Operation already in progress */
    QMP_BLOCK_FAULT_ERRNO_NAME_EALREADY = 111,
    /** Operation now in progress */
    QMP_BLOCK_FAULT_ERRNO_NAME_EINPROGRESS = 112,
    /** Stale file handle */
    QMP_BLOCK_FAULT_ERRNO_NAME_ESTALE = 113,
    /** Structure needs cleaning */
    QMP_BLOCK_FAULT_ERRNO_NAME_EUCLEAN = 114,
    /** Not a XENIX named type file */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTNAM = 115,
    /** No XENIX semaphores available */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENAVAIL = 116,
    /** Is a named type file */
    QMP_BLOCK_FAULT_ERRNO_NAME_EISNAM = 117,
    /** Remote I/O error */
    QMP_BLOCK_FAULT_ERRNO_NAME_EREMOTEIO = 118,
    /** Disk quota exceeded */
    QMP_BLOCK_FAULT_ERRNO_NAME_EDQUOT = 119,
    /** No medium found */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOMEDIUM = 120,
    /** Wrong medium type */
    QMP_BLOCK_FAULT_ERRNO_NAME_EMEDIUMTYPE = 121,
    /** Operation canceled */
    QMP_BLOCK_FAULT_ERRNO_NAME_ECANCELED = 122,
    /** Required key not available */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOKEY = 123,
    /** Key has expired */
    QMP_BLOCK_FAULT_ERRNO_NAME_EKEYEXPIRED = 124,
    /** Key has been revoked */
    QMP_BLOCK_FAULT_ERRNO_NAME_EKEYREVOKED = 125,
    /** Key was rejected by service */
    QMP_BLOCK_FAULT_ERRNO_NAME_EKEYREJECTED = 126,
    /** Owner died */
    QMP_BLOCK_FAULT_ERRNO_NAME_EOWNERDEAD = 127,
    /** State not recoverable */
    QMP_BLOCK_FAULT_ERRNO_NAME_ENOTRECOVERABLE = 128,
    /** Operation not possible due to RF-kill */
    QMP_BLOCK_FAULT_ERRNO_NAME_ERFKILL = 129
} QmpBlockFaultErrnoName;

/**
 * The name of a value of QmpBlockFaultErrnoName on the wire. It is the library's and lives as long
 * as the program. NULL if there is no such value.
 */
const char *libqmp_block_fault_errno_name_name(QmpBlockFaultErrnoName value);

/**
 * Which sectors of a torn write reach the disk.
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultTornKeep {
    /** those at its beginning */
    QMP_BLOCK_FAULT_TORN_KEEP_FIRST = 0,
    /** those at its end */
    QMP_BLOCK_FAULT_TORN_KEEP_LAST = 1,
    /**
     * each with probability one half.  In a write of more than 32 MiB neighbours are kept or lost
     * together.
     */
    QMP_BLOCK_FAULT_TORN_KEEP_RANDOM = 2
} QmpBlockFaultTornKeep;

/**
 * The name of a value of QmpBlockFaultTornKeep on the wire. It is the library's and lives as long
 * as the program. NULL if there is no such value.
 */
const char *libqmp_block_fault_torn_keep_name(QmpBlockFaultTornKeep value);

/**
 * Which of the writes in a disk's volatile cache are kept at a power cut.
 *
 * Since 0.1.
 */
typedef enum QmpBlockPowerCutSurvive {
    /** none */
    QMP_BLOCK_POWER_CUT_SURVIVE_NONE = 0,
    /** all */
    QMP_BLOCK_POWER_CUT_SURVIVE_ALL = 1,
    /**
     * the first of them in the order of completion; their number is random.  The next one is torn.
     */
    QMP_BLOCK_POWER_CUT_SURVIVE_PREFIX = 2,
    /** each of their sectors with probability one half.  The last write is torn. */
    QMP_BLOCK_POWER_CUT_SURVIVE_RANDOM = 3
} QmpBlockPowerCutSurvive;

/**
 * The name of a value of QmpBlockPowerCutSurvive on the wire. It is the library's and lives as long
 * as the program. NULL if there is no such value.
 */
const char *libqmp_block_power_cut_survive_name(QmpBlockPowerCutSurvive value);

/**
 * What the machine does after a power cut.
 *
 * Since 0.1.
 */
typedef enum QmpBlockPowerCutThen {
    /** it is reset */
    QMP_BLOCK_POWER_CUT_THEN_RESET = 0,
    /** it stops.  When it is continued, the requests that were in flight fail with EIO. */
    QMP_BLOCK_POWER_CUT_THEN_STOP = 1,
    /** the program ends */
    QMP_BLOCK_POWER_CUT_THEN_QUIT = 2
} QmpBlockPowerCutThen;

/**
 * The name of a value of QmpBlockPowerCutThen on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_block_power_cut_then_name(QmpBlockPowerCutThen value);

/**
 * What happens to hanging requests.
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultRelease {
    /** they are performed, without being evaluated again */
    QMP_BLOCK_FAULT_RELEASE_PERFORM = 0,
    /** they are reported as complete and not performed */
    QMP_BLOCK_FAULT_RELEASE_COMPLETE = 1,
    /** they fail */
    QMP_BLOCK_FAULT_RELEASE_FAIL = 2
} QmpBlockFaultRelease;

/**
 * The name of a value of QmpBlockFaultRelease on the wire. It is the library's and lives as long as
 * the program. NULL if there is no such value.
 */
const char *libqmp_block_fault_release_name(QmpBlockFaultRelease value);

/* -----------------------------------------------------------------------------
 * Structures
 * ----------------------------------------------------------------------------- */

typedef struct QmpQmpCapabilitiesArguments QmpQmpCapabilitiesArguments;
typedef struct QmpVersionTriple QmpVersionTriple;
typedef struct QmpVersionInfo QmpVersionInfo;
typedef struct QmpCommandInfo QmpCommandInfo;
typedef struct QmpPutEventArguments QmpPutEventArguments;
typedef struct QmpListenEventArguments QmpListenEventArguments;
typedef struct QmpUnlistenEventArguments QmpUnlistenEventArguments;
typedef struct QmpConnectArguments QmpConnectArguments;
typedef struct QmpDisconnectArguments QmpDisconnectArguments;
typedef struct QmpEventsLost QmpEventsLost;
typedef struct QmpSchemaInfo QmpSchemaInfo;
typedef struct QmpSchemaInfoBuiltin QmpSchemaInfoBuiltin;
typedef struct QmpSchemaInfoEnum QmpSchemaInfoEnum;
typedef struct QmpSchemaInfoEnumMember QmpSchemaInfoEnumMember;
typedef struct QmpSchemaInfoArray QmpSchemaInfoArray;
typedef struct QmpSchemaInfoObject QmpSchemaInfoObject;
typedef struct QmpSchemaInfoObjectMember QmpSchemaInfoObjectMember;
typedef struct QmpSchemaInfoObjectVariant QmpSchemaInfoObjectVariant;
typedef struct QmpSchemaInfoAlternate QmpSchemaInfoAlternate;
typedef struct QmpSchemaInfoAlternateMember QmpSchemaInfoAlternateMember;
typedef struct QmpSchemaInfoCommand QmpSchemaInfoCommand;
typedef struct QmpSchemaInfoEvent QmpSchemaInfoEvent;
typedef struct QmpStatusInfo QmpStatusInfo;
typedef struct QmpShutdown QmpShutdown;
typedef struct QmpReset QmpReset;
typedef struct QmpSetActionArguments QmpSetActionArguments;
typedef struct QmpGuestPanicked QmpGuestPanicked;
typedef struct QmpGuestCrashloaded QmpGuestCrashloaded;
typedef struct QmpCpuInstanceProperties QmpCpuInstanceProperties;
typedef struct QmpCpuInfoFast QmpCpuInfoFast;
typedef struct QmpMemoryInfo QmpMemoryInfo;
typedef struct QmpIOThreadInfo QmpIOThreadInfo;
typedef struct QmpVsockInfo QmpVsockInfo;
typedef struct QmpKvmInfo QmpKvmInfo;
typedef struct QmpNameInfo QmpNameInfo;
typedef struct QmpBlockdevCacheInfo QmpBlockdevCacheInfo;
typedef struct QmpBlockNodeInfo QmpBlockNodeInfo;
typedef struct QmpImageInfo QmpImageInfo;
typedef struct QmpBlockDeviceInfo QmpBlockDeviceInfo;
typedef struct QmpBlockInfo QmpBlockInfo;
typedef struct QmpBlockDeviceTimedStats QmpBlockDeviceTimedStats;
typedef struct QmpBlockDeviceStats QmpBlockDeviceStats;
typedef struct QmpBlockStats QmpBlockStats;
typedef struct QmpQueryBlockstatsArguments QmpQueryBlockstatsArguments;
typedef struct QmpQueryNamedBlockNodesArguments QmpQueryNamedBlockNodesArguments;
typedef struct QmpBlockResizeArguments QmpBlockResizeArguments;
typedef struct QmpBlockIoError QmpBlockIoError;
typedef struct QmpBlockIOThrottle QmpBlockIOThrottle;
typedef struct QmpBlockWriteThreshold QmpBlockWriteThreshold;
typedef struct QmpBlockSetWriteThresholdArguments QmpBlockSetWriteThresholdArguments;
typedef struct QmpBlockImageCorrupted QmpBlockImageCorrupted;
typedef struct QmpBlockFaultErrno QmpBlockFaultErrno;
typedef struct QmpBlockFaultError QmpBlockFaultError;
typedef struct QmpBlockFaultPercentile QmpBlockFaultPercentile;
typedef struct QmpBlockFaultDelay QmpBlockFaultDelay;
typedef struct QmpBlockFaultCorrupt QmpBlockFaultCorrupt;
typedef struct QmpBlockFaultTorn QmpBlockFaultTorn;
typedef struct QmpBlockFaultMisdirect QmpBlockFaultMisdirect;
typedef struct QmpBlockFaultSetState QmpBlockFaultSetState;
typedef struct QmpBlockFaultPowerCut QmpBlockFaultPowerCut;
typedef struct QmpBlockFaultRule QmpBlockFaultRule;
typedef struct QmpBlockFaultAdded QmpBlockFaultAdded;
typedef struct QmpBlockFaultRemoveArguments QmpBlockFaultRemoveArguments;
typedef struct QmpBlockFaultClearArguments QmpBlockFaultClearArguments;
typedef struct QmpBlockFaultRuleInfo QmpBlockFaultRuleInfo;
typedef struct QmpBlockFaultHanging QmpBlockFaultHanging;
typedef struct QmpBlockFaultInfo QmpBlockFaultInfo;
typedef struct QmpBlockFaultReleased QmpBlockFaultReleased;
typedef struct QmpBlockFaultReleaseArguments QmpBlockFaultReleaseArguments;
typedef struct QmpBlockFaultSetStateArguments QmpBlockFaultSetStateArguments;
typedef struct QmpBlockPowerCutArguments QmpBlockPowerCutArguments;
typedef struct QmpBlockFaultInjected QmpBlockFaultInjected;
typedef struct QmpBlockPowerCut QmpBlockPowerCut;

/* -----------------------------------------------------------------------------
 * Lists
 * ----------------------------------------------------------------------------- */

/** Values of type QmpQMPCapability. */
typedef struct QmpQMPCapabilityList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpQMPCapability *items;
} QmpQMPCapabilityList;

/** Values of type QmpCommandInfo. */
typedef struct QmpCommandInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpCommandInfo *items;
} QmpCommandInfoList;

/** Values of type QmpSchemaInfo. */
typedef struct QmpSchemaInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpSchemaInfo *items;
} QmpSchemaInfoList;

/** Values of type `str`. */
typedef struct QmpStringList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const char *const *items;
} QmpStringList;

/** Values of type QmpSchemaInfoEnumMember. */
typedef struct QmpSchemaInfoEnumMemberList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpSchemaInfoEnumMember *items;
} QmpSchemaInfoEnumMemberList;

/** Values of type QmpSchemaInfoObjectMember. */
typedef struct QmpSchemaInfoObjectMemberList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpSchemaInfoObjectMember *items;
} QmpSchemaInfoObjectMemberList;

/** Values of type QmpSchemaInfoObjectVariant. */
typedef struct QmpSchemaInfoObjectVariantList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpSchemaInfoObjectVariant *items;
} QmpSchemaInfoObjectVariantList;

/** Values of type QmpSchemaInfoAlternateMember. */
typedef struct QmpSchemaInfoAlternateMemberList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpSchemaInfoAlternateMember *items;
} QmpSchemaInfoAlternateMemberList;

/** Values of type QmpCpuInfoFast. */
typedef struct QmpCpuInfoFastList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpCpuInfoFast *items;
} QmpCpuInfoFastList;

/** Values of type QmpIOThreadInfo. */
typedef struct QmpIOThreadInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpIOThreadInfo *items;
} QmpIOThreadInfoList;

/** Values of type QmpVsockInfo. */
typedef struct QmpVsockInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpVsockInfo *items;
} QmpVsockInfoList;

/** Values of type QmpBlockInfo. */
typedef struct QmpBlockInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockInfo *items;
} QmpBlockInfoList;

/** Values of type QmpBlockDeviceTimedStats. */
typedef struct QmpBlockDeviceTimedStatsList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockDeviceTimedStats *items;
} QmpBlockDeviceTimedStatsList;

/** Values of type QmpBlockStats. */
typedef struct QmpBlockStatsList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockStats *items;
} QmpBlockStatsList;

/** Values of type QmpBlockDeviceInfo. */
typedef struct QmpBlockDeviceInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockDeviceInfo *items;
} QmpBlockDeviceInfoList;

/** Values of type QmpBlockFaultPercentile. */
typedef struct QmpBlockFaultPercentileList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockFaultPercentile *items;
} QmpBlockFaultPercentileList;

/** Values of type QmpBlockFaultOperation. */
typedef struct QmpBlockFaultOperationList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockFaultOperation *items;
} QmpBlockFaultOperationList;

/** Values of type QmpBlockFaultRuleInfo. */
typedef struct QmpBlockFaultRuleInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockFaultRuleInfo *items;
} QmpBlockFaultRuleInfoList;

/** Values of type QmpBlockFaultHanging. */
typedef struct QmpBlockFaultHangingList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockFaultHanging *items;
} QmpBlockFaultHangingList;

/** Values of type QmpBlockFaultInfo. */
typedef struct QmpBlockFaultInfoList {
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    const QmpBlockFaultInfo *items;
} QmpBlockFaultInfoList;

/* -----------------------------------------------------------------------------
 * Types
 * ----------------------------------------------------------------------------- */

/**
 * A version in three numbers.
 *
 * Since 0.1.
 */
struct QmpVersionTriple {
    /** the third number, for corrections */
    int64_t micro;
    /** the second number */
    int64_t minor;
    /** the first number */
    int64_t major;
};

/**
 * The versions of the protocol and of the program.
 *
 * Since 0.1.
 */
struct QmpVersionInfo {
    /** the version of QEMU whose commands it follows */
    QmpVersionTriple qemu;
    /** the program and its own version */
    const char *package;
};

/**
 * A command that can be executed.
 *
 * Since 0.1.
 */
struct QmpCommandInfo {
    /** its name */
    const char *name;
};

/**
 * The members of the description of a built-in type.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoBuiltin {
    /** the type of its values in JSON */
    QmpJSONType json_type;
};

/**
 * The members of the description of an enumeration.  Its values are strings in JSON.
 *
 * Feature `deprecated`: Use `members` instead.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoEnum {
    /** the values, each with its features */
    QmpSchemaInfoEnumMemberList members;
    /** the names of the same values */
    QmpStringList values;
};

/**
 * The members of the description of a list, which is an array in JSON.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoArray {
    /** the type of its elements */
    const char *element_type;
};

/**
 * The members of the description of a type with members, which is an object in JSON.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoObject {
    /** the members that every value has */
    QmpSchemaInfoObjectMemberList members;
    /**
     * the one of `members` whose value selects a variant; absent if there are no variants (NULL:
     * absent)
     */
    const char *tag;
    /** the members that each value of `tag` adds; present exactly if `tag` is (NULL: absent) */
    const QmpSchemaInfoObjectVariantList *variants;
};

/**
 * The members of the description of an alternate.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoAlternate {
    /** its types; a value's type in JSON selects one */
    QmpSchemaInfoAlternateMemberList members;
};

/**
 * The members of the description of a command.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoCommand {
    /** the object type of its arguments */
    const char *arg_type;
    /** the type of its return value */
    const char *ret_type;
    /** Whether `allow_oob` is present. */
    bool has_allow_oob;
    /** true if it can be executed out of band; absent if it cannot */
    bool allow_oob;
};

/**
 * The members of the description of an event.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoEvent {
    /** the object type of its data */
    const char *arg_type;
};

/**
 * The description of one command, event or type.
 *
 * Since 0.1.
 */
struct QmpSchemaInfo {
    /**
     * the name of a command or an event; for a type, the name by which other descriptions refer to
     * it
     */
    const char *name;
    /** the kind, which determines the other members */
    QmpSchemaMetaType meta_type;
    /** the features it has, in no particular order; absent if it has none (NULL: absent) */
    const QmpStringList *features;
    /** What `meta_type` says, and nothing for a value of `meta_type` that is not named here. */
    union {
        /** QMP_SCHEMA_META_TYPE_BUILTIN */
        QmpSchemaInfoBuiltin builtin;
        /** QMP_SCHEMA_META_TYPE_ENUM */
        QmpSchemaInfoEnum enum_;
        /** QMP_SCHEMA_META_TYPE_ARRAY */
        QmpSchemaInfoArray array;
        /** QMP_SCHEMA_META_TYPE_OBJECT */
        QmpSchemaInfoObject object;
        /** QMP_SCHEMA_META_TYPE_ALTERNATE */
        QmpSchemaInfoAlternate alternate;
        /** QMP_SCHEMA_META_TYPE_COMMAND */
        QmpSchemaInfoCommand command;
        /** QMP_SCHEMA_META_TYPE_EVENT */
        QmpSchemaInfoEvent event;
    } u;
};

/**
 * A value of an enumeration.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoEnumMember {
    /** the value */
    const char *name;
    /** the features it has; absent if it has none (NULL: absent) */
    const QmpStringList *features;
};

/**
 * A member of an object.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoObjectMember {
    /** its name */
    const char *name;
    /** its type */
    const char *type;
    /**
     * absent if the member is mandatory, null if it is optional.  Its default value is not
     * described. (NULL: absent)
     */
    const char *default_;
    /** the features it has; absent if it has none (NULL: absent) */
    const QmpStringList *features;
};

/**
 * A variant of an object.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoObjectVariant {
    /** the value of the tag */
    const char *case_;
    /** the object type whose members are added */
    const char *type;
};

/**
 * A type of an alternate.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoAlternateMember {
    /** the type */
    const char *type;
};

/**
 * Whether the machine runs.
 *
 * Since 0.1.
 */
struct QmpStatusInfo {
    /** true if the vCPUs run */
    bool running;
    /** its state */
    QmpRunState status;
};

/**
 * The topology of a vCPU.
 *
 * Since 0.1.
 */
struct QmpCpuInstanceProperties {
    /** Whether `socket_id` is present. */
    bool has_socket_id;
    /** its package */
    int64_t socket_id;
    /** Whether `core_id` is present. */
    bool has_core_id;
    /** its core in the package */
    int64_t core_id;
    /** Whether `thread_id` is present. */
    bool has_thread_id;
    /** its thread in the core */
    int64_t thread_id;
};

/**
 * A vCPU.
 *
 * Since 0.1.
 */
struct QmpCpuInfoFast {
    /** its number, from 0 */
    int64_t cpu_index;
    /** its path in QEMU's object tree */
    const char *qom_path;
    /** the ID of its thread on the host */
    int64_t thread_id;
    /** its topology (NULL: absent) */
    const QmpCpuInstanceProperties *props;
    /** its architecture */
    QmpSysEmuTarget target;
};

/**
 * The size of guest memory, in bytes.
 *
 * Since 0.1.
 */
struct QmpMemoryInfo {
    /** the size at the start (**-m**) */
    uint64_t base_memory;
    /** Whether `plugged_memory` is present. */
    bool has_plugged_memory;
    /** the size of memory added since: 0 */
    uint64_t plugged_memory;
};

/**
 * A thread that serves a disk.
 *
 * Since 0.1.
 */
struct QmpIOThreadInfo {
    /** its name: *disk-* and the disk's id */
    const char *id;
    /** the ID of the thread on the host */
    int64_t thread_id;
    /** the longest poll window before it sleeps, in nanoseconds */
    int64_t poll_max_ns;
    /** the factor by which the window grows after a hit; 0 for the default */
    int64_t poll_grow;
    /** the factor by which the window shrinks after a miss; 0 for the default */
    int64_t poll_shrink;
    /** the most requests submitted in a batch; 0 for the default */
    int64_t aio_max_batch;
};

/**
 * The vsock device: sockets between guest and host (**--vsock**).  Numbers but `connections` count
 * since the start of the program.
 *
 * Since 0.1.
 */
struct QmpVsockInfo {
    /** the guest's CID */
    int64_t cid;
    /** the path of the socket for clients on the host */
    const char *socket;
    /** connections that are open, or whose last bytes a client on the host has not taken yet */
    int64_t connections;
    /** bytes of streams sent to the guest */
    int64_t bytes_to_guest;
    /** bytes of streams received from the guest */
    int64_t bytes_from_guest;
    /**
     * connections that were not made: nobody listened, the other side refused or did not answer, or
     * a bound was reached
     */
    int64_t refused;
    /** connections that ended by a reset before both sides had closed them */
    int64_t resets;
};

/**
 * Whether KVM is present and in use.
 *
 * Since 0.1.
 */
struct QmpKvmInfo {
    /** true if this machine uses it */
    bool enabled;
    /** true if this program supports it */
    bool present;
};

/**
 * The name of the machine.
 *
 * Since 0.1.
 */
struct QmpNameInfo {
    /** the name, absent if none was given (NULL: absent) */
    const char *name;
};

/**
 * How a disk's writes reach the medium.
 *
 * Since 0.1.
 */
struct QmpBlockdevCacheInfo {
    /** true if a write completes before the medium has it */
    bool writeback;
    /** true if the host's page cache is bypassed */
    bool direct;
    /** true if flushes do nothing */
    bool no_flush;
};

/**
 * An image: its format and sizes.
 *
 * Since 0.1.
 */
struct QmpBlockNodeInfo {
    /** its file name */
    const char *filename;
    /** its format, such as raw */
    const char *format;
    /** Whether `dirty_flag` is present. */
    bool has_dirty_flag;
    /** true if it was not closed properly the last time */
    bool dirty_flag;
    /** Whether `actual_size` is present. */
    bool has_actual_size;
    /** bytes allocated on the host */
    int64_t actual_size;
    /** size that the guest sees, in bytes */
    int64_t virtual_size;
    /** Whether `cluster_size` is present. */
    bool has_cluster_size;
    /** the format's unit of allocation in bytes */
    int64_t cluster_size;
    /** Whether `encrypted` is present. */
    bool has_encrypted;
    /** true if it is encrypted */
    bool encrypted;
    /** Whether `compressed` is present. */
    bool has_compressed;
    /** true if it is compressed */
    bool compressed;
    /** the backing image, as this image names it (NULL: absent) */
    const char *backing_filename;
    /** the full path of the backing image (NULL: absent) */
    const char *full_backing_filename;
    /** the format of the backing image (NULL: absent) */
    const char *backing_filename_format;
};

/**
 * An image and its backing images.
 *
 * Since 0.1.
 */
struct QmpImageInfo {
    /** its file name */
    const char *filename;
    /** its format, such as raw */
    const char *format;
    /** Whether `dirty_flag` is present. */
    bool has_dirty_flag;
    /** true if it was not closed properly the last time */
    bool dirty_flag;
    /** Whether `actual_size` is present. */
    bool has_actual_size;
    /** bytes allocated on the host */
    int64_t actual_size;
    /** size that the guest sees, in bytes */
    int64_t virtual_size;
    /** Whether `cluster_size` is present. */
    bool has_cluster_size;
    /** the format's unit of allocation in bytes */
    int64_t cluster_size;
    /** Whether `encrypted` is present. */
    bool has_encrypted;
    /** true if it is encrypted */
    bool encrypted;
    /** Whether `compressed` is present. */
    bool has_compressed;
    /** true if it is compressed */
    bool compressed;
    /** the backing image, as this image names it (NULL: absent) */
    const char *backing_filename;
    /** the full path of the backing image (NULL: absent) */
    const char *full_backing_filename;
    /** the format of the backing image (NULL: absent) */
    const char *backing_filename_format;
    /** the backing image (NULL: absent) */
    const QmpImageInfo *backing_image;
};

/**
 * A disk's node.  A limit of zero is none.  As in QEMU, limits belong to the disk and not to the
 * node: query-block shows them, and query-named-block-nodes does not.
 *
 * Since 0.1.
 */
struct QmpBlockDeviceInfo {
    /** the image's file */
    const char *file;
    /** the name of the node (NULL: absent) */
    const char *node_name;
    /** true if it is read-only */
    bool ro;
    /** the image's format */
    const char *drv;
    /** the backing image (NULL: absent) */
    const char *backing_file;
    /** number of backing images */
    int64_t backing_file_depth;
    /** true if the image is in use; QEMU says false during a migration.  Here always true */
    bool active;
    /** true if it is encrypted */
    bool encrypted;
    /** how writes of zeroes are detected */
    QmpBlockdevDetectZeroesOptions detect_zeroes;
    /** limit of bytes a second, reading and writing together */
    int64_t bps;
    /** limit of bytes read a second */
    int64_t bps_rd;
    /** limit of bytes written a second */
    int64_t bps_wr;
    /** limit of requests a second, reading and writing together */
    int64_t iops;
    /** limit of reads a second */
    int64_t iops_rd;
    /** limit of writes a second */
    int64_t iops_wr;
    /** the image */
    QmpImageInfo image;
    /** Whether `bps_max` is present. */
    bool has_bps_max;
    /** limit of bytes a second, reading and writing together, in a burst; absent without one */
    int64_t bps_max;
    /** Whether `bps_rd_max` is present. */
    bool has_bps_rd_max;
    /** limit of bytes read a second, in a burst; absent without one */
    int64_t bps_rd_max;
    /** Whether `bps_wr_max` is present. */
    bool has_bps_wr_max;
    /** limit of bytes written a second, in a burst; absent without one */
    int64_t bps_wr_max;
    /** Whether `iops_max` is present. */
    bool has_iops_max;
    /** limit of requests a second, reading and writing together, in a burst; absent without one */
    int64_t iops_max;
    /** Whether `iops_rd_max` is present. */
    bool has_iops_rd_max;
    /** limit of reads a second, in a burst; absent without one */
    int64_t iops_rd_max;
    /** Whether `iops_wr_max` is present. */
    bool has_iops_wr_max;
    /** limit of writes a second, in a burst; absent without one */
    int64_t iops_wr_max;
    /** Whether `bps_max_length` is present. */
    bool has_bps_max_length;
    /** seconds that a burst of `bps_max` may last */
    int64_t bps_max_length;
    /** Whether `bps_rd_max_length` is present. */
    bool has_bps_rd_max_length;
    /** seconds that a burst of `bps_rd_max` may last */
    int64_t bps_rd_max_length;
    /** Whether `bps_wr_max_length` is present. */
    bool has_bps_wr_max_length;
    /** seconds that a burst of `bps_wr_max` may last */
    int64_t bps_wr_max_length;
    /** Whether `iops_max_length` is present. */
    bool has_iops_max_length;
    /** seconds that a burst of `iops_max` may last */
    int64_t iops_max_length;
    /** Whether `iops_rd_max_length` is present. */
    bool has_iops_rd_max_length;
    /** seconds that a burst of `iops_rd_max` may last */
    int64_t iops_rd_max_length;
    /** Whether `iops_wr_max_length` is present. */
    bool has_iops_wr_max_length;
    /** seconds that a burst of `iops_wr_max` may last */
    int64_t iops_wr_max_length;
    /** Whether `iops_size` is present. */
    bool has_iops_size;
    /** size in bytes beyond which a request counts as several; absent if none does */
    int64_t iops_size;
    /** the group of disks that shares the limits; absent without limits (NULL: absent) */
    const char *group;
    /** the cache mode */
    QmpBlockdevCacheInfo cache;
    /** the write threshold, an offset in bytes; zero if none is set */
    int64_t write_threshold;
};

/**
 * A disk.
 *
 * Since 0.1.
 */
struct QmpBlockInfo {
    /** its name */
    const char *device;
    /** the path of the device that the guest sees (NULL: absent) */
    const char *qdev;
    /** always "unknown", as in QEMU */
    const char *type;
    /** true if its medium is removable */
    bool removable;
    /** true if the guest has locked its medium */
    bool locked;
    /** its medium, absent if there is none (NULL: absent) */
    const QmpBlockDeviceInfo *inserted;
    /** Whether `io_status` is present. */
    bool has_io_status;
    /** whether requests are held; absent if the error policy never stops the machine */
    QmpBlockDeviceIoStatus io_status;
};

/**
 * Statistics of a disk for the last interval of some length.
 *
 * Since 0.1.
 */
struct QmpBlockDeviceTimedStats {
    /** its length in seconds */
    int64_t interval_length;
    /** minimum latency of reads, in nanoseconds */
    int64_t min_rd_latency_ns;
    /** maximum latency of reads, in nanoseconds */
    int64_t max_rd_latency_ns;
    /** average latency of reads, in nanoseconds */
    int64_t avg_rd_latency_ns;
    /** minimum latency of writes, in nanoseconds */
    int64_t min_wr_latency_ns;
    /** maximum latency of writes, in nanoseconds */
    int64_t max_wr_latency_ns;
    /** average latency of writes, in nanoseconds */
    int64_t avg_wr_latency_ns;
    /** minimum latency of zone appends, in nanoseconds */
    int64_t min_zone_append_latency_ns;
    /** maximum latency of zone appends, in nanoseconds */
    int64_t max_zone_append_latency_ns;
    /** average latency of zone appends, in nanoseconds */
    int64_t avg_zone_append_latency_ns;
    /** minimum latency of flushes, in nanoseconds */
    int64_t min_flush_latency_ns;
    /** maximum latency of flushes, in nanoseconds */
    int64_t max_flush_latency_ns;
    /** average latency of flushes, in nanoseconds */
    int64_t avg_flush_latency_ns;
    /** average number of reads in flight */
    double avg_rd_queue_depth;
    /** average number of writes in flight */
    double avg_wr_queue_depth;
    /** average number of zone appends in flight */
    double avg_zone_append_queue_depth;
};

/**
 * Statistics of a disk since the program was started.  A request is counted when it completes,
 * before the guest is notified, and with the result that the guest is told: one whose error is
 * ignored as completed, one that is held not before it is resubmitted.  Zone appends do not exist:
 * their numbers are zero.
 *
 * Since 0.1.
 */
struct QmpBlockDeviceStats {
    /** bytes read */
    int64_t rd_bytes;
    /** bytes written */
    int64_t wr_bytes;
    /** bytes appended to zones */
    int64_t zone_append_bytes;
    /** bytes discarded */
    int64_t unmap_bytes;
    /** completed reads */
    int64_t rd_operations;
    /** completed writes */
    int64_t wr_operations;
    /** completed zone appends */
    int64_t zone_append_operations;
    /** completed flushes */
    int64_t flush_operations;
    /** completed discards */
    int64_t unmap_operations;
    /**
     * total time of reads in nanoseconds, each from when the disk took it, or resubmitted it, to
     * its completion; time spent throttled counts
     */
    int64_t rd_total_time_ns;
    /** the same for writes */
    int64_t wr_total_time_ns;
    /** the same for zone appends */
    int64_t zone_append_total_time_ns;
    /** the same for flushes */
    int64_t flush_total_time_ns;
    /** the same for discards */
    int64_t unmap_total_time_ns;
    /** end of the furthest write, as an offset in bytes */
    int64_t wr_highest_offset;
    /** reads merged into another; none is */
    int64_t rd_merged;
    /** writes merged into another; none is */
    int64_t wr_merged;
    /** zone appends merged into another */
    int64_t zone_append_merged;
    /** discards merged into another; none is */
    int64_t unmap_merged;
    /** Whether `idle_time_ns` is present. */
    bool has_idle_time_ns;
    /** nanoseconds since the last completion, absent if there was none */
    int64_t idle_time_ns;
    /** reads that failed */
    int64_t failed_rd_operations;
    /** writes that failed */
    int64_t failed_wr_operations;
    /** zone appends that failed */
    int64_t failed_zone_append_operations;
    /** flushes that failed */
    int64_t failed_flush_operations;
    /** discards that failed */
    int64_t failed_unmap_operations;
    /** reads that are invalid and were not submitted to the host, such as one beyond the end */
    int64_t invalid_rd_operations;
    /** the same for writes */
    int64_t invalid_wr_operations;
    /** the same for zone appends */
    int64_t invalid_zone_append_operations;
    /** the same for flushes */
    int64_t invalid_flush_operations;
    /** the same for discards */
    int64_t invalid_unmap_operations;
    /** true if invalid requests end the idle time; they always do */
    bool account_invalid;
    /** true if failed requests end the idle time and their latency counts; they always do */
    bool account_failed;
    /** statistics for intervals; there are none */
    QmpBlockDeviceTimedStatsList timed_stats;
};

/**
 * The statistics of a disk, or of a node.
 *
 * Since 0.1.
 */
struct QmpBlockStats {
    /** the name of the disk, absent for a node (NULL: absent) */
    const char *device;
    /** the path of the device that the guest sees, absent for a node (NULL: absent) */
    const char *qdev;
    /** the name of the node (NULL: absent) */
    const char *node_name;
    /** the statistics */
    QmpBlockDeviceStats stats;
    /** the statistics of the node below (NULL: absent) */
    const QmpBlockStats *parent;
    /** the statistics of the backing image (NULL: absent) */
    const QmpBlockStats *backing;
};

/**
 * The limits of a disk, in bytes and requests a second.  A limit of zero is none, and without any
 * the disk leaves its group.  Each is from 0 to 1000000000000000.  A total excludes limits of reads
 * or writes.
 *
 * Reads, writes and write-zeroes are limited; flushes and discards are not.  A request larger than
 * a limit is submitted whole, and later ones wait longer.  Without a burst, a tenth of a second's
 * worth may be submitted at once.
 *
 * Feature `deprecated`: Member `device` is deprecated.  Use `id` instead.
 *
 * Since 0.1.
 */
struct QmpBlockIOThrottle {
    /** the name of the disk (NULL: absent) */
    const char *device;
    /**
     * the name of the device that the guest sees, or its path; one of `device` and `id` is needed,
     * and only one (NULL: absent)
     */
    const char *id;
    /** limit of bytes a second, reading and writing together */
    int64_t bps;
    /** limit of bytes read a second */
    int64_t bps_rd;
    /** limit of bytes written a second */
    int64_t bps_wr;
    /** limit of requests a second, reading and writing together */
    int64_t iops;
    /** limit of reads a second */
    int64_t iops_rd;
    /** limit of writes a second */
    int64_t iops_wr;
    /** Whether `bps_max` is present. */
    bool has_bps_max;
    /** limit of bytes a second, reading and writing together, in a burst (default: none) */
    int64_t bps_max;
    /** Whether `bps_rd_max` is present. */
    bool has_bps_rd_max;
    /** limit of bytes read a second, in a burst (default: none) */
    int64_t bps_rd_max;
    /** Whether `bps_wr_max` is present. */
    bool has_bps_wr_max;
    /** limit of bytes written a second, in a burst (default: none) */
    int64_t bps_wr_max;
    /** Whether `iops_max` is present. */
    bool has_iops_max;
    /** limit of requests a second, reading and writing together, in a burst (default: none) */
    int64_t iops_max;
    /** Whether `iops_rd_max` is present. */
    bool has_iops_rd_max;
    /** limit of reads a second, in a burst (default: none) */
    int64_t iops_rd_max;
    /** Whether `iops_wr_max` is present. */
    bool has_iops_wr_max;
    /** limit of writes a second, in a burst (default: none) */
    int64_t iops_wr_max;
    /** Whether `bps_max_length` is present. */
    bool has_bps_max_length;
    /** seconds that a burst of `bps_max` may last (default: 1) */
    int64_t bps_max_length;
    /** Whether `bps_rd_max_length` is present. */
    bool has_bps_rd_max_length;
    /** seconds that a burst of `bps_rd_max` may last (default: 1) */
    int64_t bps_rd_max_length;
    /** Whether `bps_wr_max_length` is present. */
    bool has_bps_wr_max_length;
    /** seconds that a burst of `bps_wr_max` may last (default: 1) */
    int64_t bps_wr_max_length;
    /** Whether `iops_max_length` is present. */
    bool has_iops_max_length;
    /** seconds that a burst of `iops_max` may last (default: 1) */
    int64_t iops_max_length;
    /** Whether `iops_rd_max_length` is present. */
    bool has_iops_rd_max_length;
    /** seconds that a burst of `iops_rd_max` may last (default: 1) */
    int64_t iops_rd_max_length;
    /** Whether `iops_wr_max_length` is present. */
    bool has_iops_wr_max_length;
    /** seconds that a burst of `iops_wr_max` may last (default: 1) */
    int64_t iops_wr_max_length;
    /** Whether `iops_size` is present. */
    bool has_iops_size;
    /** size in bytes beyond which a request counts as several (default: none does) */
    int64_t iops_size;
    /**
     * the disk's group.  The disks of a group share its limits and take turns; setting the limits
     * of one sets them for all.  (default: its present group, or else one of its own, named like
     * the disk) (NULL: absent)
     */
    const char *group;
};

/** Which alternative a QmpBlockFaultErrno is. */
typedef enum QmpBlockFaultErrnoKind {
    /** its name, for example "EIO" */
    QMP_BLOCK_FAULT_ERRNO_KIND_NAME = 0,
    /** its number on Linux for x86-64, for example 5 */
    QMP_BLOCK_FAULT_ERRNO_KIND_NUMBER = 1
} QmpBlockFaultErrnoKind;

/**
 * An error of the host.
 *
 * Since 0.1.
 */
struct QmpBlockFaultErrno {
    /** Which of them it is. */
    QmpBlockFaultErrnoKind kind;
    /** What `kind` says, and nothing for a value of `kind` that is not named here. */
    union {
        /** QMP_BLOCK_FAULT_ERRNO_KIND_NAME */
        QmpBlockFaultErrnoName name;
        /** QMP_BLOCK_FAULT_ERRNO_KIND_NUMBER */
        uint16_t number;
    } u;
};

/**
 * The request fails.
 *
 * Since 0.1.
 */
struct QmpBlockFaultError {
    /** the error */
    QmpBlockFaultErrno errno_;
    /** Whether `after` is present. */
    bool has_after;
    /** true to perform the request first (default: false) */
    bool after;
};

/**
 * A point of a distribution of delays.
 *
 * Since 0.1.
 */
struct QmpBlockFaultPercentile {
    /** the percentage of requests that have at most this delay; from 0 to 100 */
    double percentile;
    /** the delay */
    uint64_t microseconds;
};

/**
 * The delay of a request: a fixed time, a range, or a distribution.  At most an hour.
 *
 * Since 0.1.
 */
struct QmpBlockFaultDelay {
    /** Whether `microseconds` is present. */
    bool has_microseconds;
    /** a fixed delay */
    uint64_t microseconds;
    /** Whether `min_microseconds` is present. */
    bool has_min_microseconds;
    /** the lower bound of a uniform distribution */
    uint64_t min_microseconds;
    /** Whether `max_microseconds` is present. */
    bool has_max_microseconds;
    /** its upper bound */
    uint64_t max_microseconds;
    /**
     * points of a distribution, in ascending order.  Between two points it is linear, below the
     * first one constant; the last point must be the 100th percentile. (NULL: absent)
     */
    const QmpBlockFaultPercentileList *percentiles;
};

/**
 * How data are altered: random bits are flipped, or bytes are overwritten.  What lies beyond the
 * end of a request's data is ignored.
 *
 * Since 0.1.
 */
struct QmpBlockFaultCorrupt {
    /** Whether `flip_bits` is present. */
    bool has_flip_bits;
    /** the number of distinct bits to flip; at most 65536 */
    uint32_t flip_bits;
    /**
     * the bytes to write, in hexadecimal, for example "deadbeef"; at most 4096 bytes (NULL: absent)
     */
    const char *pattern;
    /** Whether `offset` is present. */
    bool has_offset;
    /** the first byte of the data that is overwritten (default: 0) */
    uint64_t offset;
    /** Whether `length` is present. */
    bool has_length;
    /**
     * the number of bytes to overwrite, with the pattern repeated (default: the pattern's length)
     */
    uint64_t length;
};

/**
 * Only some of the sectors of a write reach the disk.
 *
 * Since 0.1.
 */
struct QmpBlockFaultTorn {
    /** which sectors reach the disk */
    QmpBlockFaultTornKeep keep;
    /** Whether `keep_sectors` is present. */
    bool has_keep_sectors;
    /** their number, for `first` and `last` */
    uint64_t keep_sectors;
    /**
     * the error that the request then fails with (default: it is reported as complete) (NULL:
     * absent)
     */
    const QmpBlockFaultErrno *errno_;
};

/**
 * The request is performed at another place.
 *
 * Since 0.1.
 */
struct QmpBlockFaultMisdirect {
    /**
     * the sector at which the request is performed.  One that would end beyond the disk fails with
     * EIO.
     */
    uint64_t to_sector;
};

/**
 * The state of the disk's rules changes.
 *
 * Since 0.1.
 */
struct QmpBlockFaultSetState {
    /** the state from the next request on */
    const char *new_state;
};

/**
 * The power of the whole machine fails: every disk loses the content of its volatile cache, the
 * rule's own disk immediately before this request.  The seed is the rule's.
 *
 * Since 0.1.
 */
struct QmpBlockFaultPowerCut {
    /** Whether `survive` is present. */
    bool has_survive;
    /** what is kept (default: none) */
    QmpBlockPowerCutSurvive survive;
    /** Whether `tear_bytes` is present. */
    bool has_tear_bytes;
    /**
     * a torn write ends at a multiple of this; a power of two, at most 512 (default: 512, whole
     * sectors)
     */
    uint32_t tear_bytes;
    /** Whether `then` is present. */
    bool has_then;
    /** what the machine does afterwards (default: reset) */
    QmpBlockPowerCutThen then;
};

/**
 * Conditions, all of which must hold, and an action.
 *
 * Since 0.1.
 */
struct QmpBlockFaultRule {
    /** the rule's name, unique in the machine (default: one that is free) (NULL: absent) */
    const char *id;
    /** the disk */
    const char *device;
    /** the operations of the requests (default: all that the action applies to) (NULL: absent) */
    const QmpBlockFaultOperationList *operations;
    /** Whether `sector` is present. */
    bool has_sector;
    /**
     * the first sector of a range that the request overlaps, in units of 512 bytes (default: any
     * request).  A flush has no range.
     */
    uint64_t sector;
    /** Whether `sectors` is present. */
    bool has_sectors;
    /** the length of the range (default: 1 if `sector` is given) */
    uint64_t sectors;
    /** the state of the disk's rules.  The initial state is "1", as in blkdebug. (NULL: absent) */
    const char *state;
    /** Whether `min_bytes` is present. */
    bool has_min_bytes;
    /** the minimum length of the request */
    uint64_t min_bytes;
    /** Whether `max_bytes` is present. */
    bool has_max_bytes;
    /** the maximum length */
    uint64_t max_bytes;
    /** Whether `skip` is present. */
    bool has_skip;
    /** the number of requests that meet the conditions above and are skipped first (default: 0) */
    uint64_t skip;
    /** Whether `count` is present. */
    bool has_count;
    /** the rule fires at most this many times (default: unlimited) */
    uint64_t count;
    /** Whether `probability` is present. */
    bool has_probability;
    /** it fires with this probability, from 0 to 1 (default: 1) */
    double probability;
    /** Whether `seed` is present. */
    bool has_seed;
    /** random choices follow from it (default: chosen by the machine) */
    uint64_t seed;
    /** what happens to the request */
    QmpBlockFaultActionType action;
    /** What `action` says, and nothing for a value of `action` that is not named here. */
    union {
        /** QMP_BLOCK_FAULT_ACTION_TYPE_ERROR */
        QmpBlockFaultError error;
        /** QMP_BLOCK_FAULT_ACTION_TYPE_DELAY */
        QmpBlockFaultDelay delay;
        /** QMP_BLOCK_FAULT_ACTION_TYPE_CORRUPT */
        QmpBlockFaultCorrupt corrupt;
        /** QMP_BLOCK_FAULT_ACTION_TYPE_TORN */
        QmpBlockFaultTorn torn;
        /** QMP_BLOCK_FAULT_ACTION_TYPE_MISDIRECT */
        QmpBlockFaultMisdirect misdirect;
        /** QMP_BLOCK_FAULT_ACTION_TYPE_SET_STATE */
        QmpBlockFaultSetState set_state;
        /** QMP_BLOCK_FAULT_ACTION_TYPE_POWER_CUT */
        QmpBlockFaultPowerCut power_cut;
    } u;
};

/**
 * A rule that has been added.
 *
 * Since 0.1.
 */
struct QmpBlockFaultAdded {
    /** the rule's name */
    const char *id;
    /** its seed */
    uint64_t seed;
};

/**
 * A rule and its counts.
 *
 * Since 0.1.
 */
struct QmpBlockFaultRuleInfo {
    /** the rule, with its name and its seed */
    QmpBlockFaultRule rule;
    /** the number of requests that met every condition but `skip`, `count` and `probability` */
    uint64_t matches;
    /** the number of times that it has fired */
    uint64_t hits;
};

/**
 * A hanging request.
 *
 * Since 0.1.
 */
struct QmpBlockFaultHanging {
    /** its number on its disk */
    uint64_t ordinal;
    /** the rule that hangs it */
    const char *id;
    /** its operation */
    QmpBlockFaultOperation operation;
    /** its first sector; 0 for a flush */
    uint64_t sector;
    /** its length in sectors */
    uint64_t sectors;
};

/**
 * The faults of one disk.
 *
 * Since 0.1.
 */
struct QmpBlockFaultInfo {
    /** the disk */
    const char *device;
    /** the state of its rules */
    const char *state;
    /** its rules, in their order */
    QmpBlockFaultRuleInfoList rules;
    /** its hanging requests, the oldest first */
    QmpBlockFaultHangingList hanging;
};

/**
 * The result of a release.
 *
 * Since 0.1.
 */
struct QmpBlockFaultReleased {
    /** the number of requests released */
    uint64_t released;
};

/**
 * The arguments of libqmp_qmp_capabilities().
 *
 * Since 0.1.
 */
struct QmpQmpCapabilitiesArguments {
    /** the capabilities to enable; each must be in the greeting's list (NULL: absent) */
    const QmpQMPCapabilityList *enable;
};

/**
 * The arguments of libqmp_put_event().
 *
 * Since 0.1.
 */
struct QmpPutEventArguments {
    /** the handle, as the accessor returned it */
    int64_t tag;
};

/**
 * The arguments of libqmp_listen_event().
 *
 * Since 0.1.
 */
struct QmpListenEventArguments {
    /** the name of the event, as in the schema or in lower case with dashes */
    const char *event;
    /** the name of the connection, which must not be in use in this session */
    const char *id;
    /** only events about this device, for an event that has a member "device" (NULL: absent) */
    const char *device;
};

/**
 * The arguments of libqmp_unlisten_event().
 *
 * Since 0.1.
 */
struct QmpUnlistenEventArguments {
    /** the name of the connection */
    const char *id;
};

/**
 * The arguments of libqmp_connect().
 *
 * Since 0.1.
 */
struct QmpConnectArguments {
    /**
     * the object, as { "__jsonclass__": "BlockDevice", "id": "disk0" } or { "__jsonclass__":
     * "Machine" }
     */
    const char *obj;
    /** the signal of the object, such as io-error */
    const char *signal;
};

/**
 * The arguments of libqmp_disconnect().
 *
 * Since 0.1.
 */
struct QmpDisconnectArguments {
    /** the connection, as it was returned */
    const char *connection;
};

/**
 * The data of EVENTS_LOST.
 *
 * Feature `notice`: It is not a signal, and has no accessor.
 *
 * Since 0.1.
 */
struct QmpEventsLost {
    /** the name of the lost events */
    const char *event;
    /** their number */
    uint64_t count;
};

/**
 * The data of SHUTDOWN.
 *
 * Since 0.1.
 */
struct QmpShutdown {
    /** true if the guest caused it */
    bool guest;
    /** the cause */
    QmpShutdownCause reason;
};

/**
 * The data of RESET.
 *
 * Since 0.1.
 */
struct QmpReset {
    /** true if the guest caused it */
    bool guest;
    /** the cause */
    QmpShutdownCause reason;
};

/**
 * The arguments of libqmp_set_action().
 *
 * Since 0.1.
 */
struct QmpSetActionArguments {
    /** Whether `reboot` is present. */
    bool has_reboot;
    /** the response to a reset */
    QmpRebootAction reboot;
    /** Whether `shutdown` is present. */
    bool has_shutdown;
    /** the response to a shutdown by the guest */
    QmpShutdownAction shutdown;
    /** Whether `panic` is present. */
    bool has_panic;
    /** the response to a panic */
    QmpPanicAction panic;
    /** Whether `watchdog` is present. */
    bool has_watchdog;
    /**
     * the response to a watchdog that expires.  There is no watchdog, and the value has no effect,
     * as in QEMU without one
     */
    QmpWatchdogAction watchdog;
};

/**
 * The data of GUEST_PANICKED.
 *
 * Feature `replayed`: One with action pause is replayed to late subscribers until the machine runs
 * again.
 *
 * Since 0.1.
 */
struct QmpGuestPanicked {
    /** the response */
    QmpGuestPanicAction action;
};

/**
 * The data of GUEST_CRASHLOADED.
 *
 * Since 0.1.
 */
struct QmpGuestCrashloaded {
    /** the response: always `run` */
    QmpGuestPanicAction action;
};

/**
 * The arguments of libqmp_query_blockstats().
 *
 * Since 0.1.
 */
struct QmpQueryBlockstatsArguments {
    /** Whether `query_nodes` is present. */
    bool has_query_nodes;
    /**
     * true to list the nodes instead of the disks (default: false).  Each disk has one, with the
     * same numbers.
     */
    bool query_nodes;
};

/**
 * The arguments of libqmp_query_named_block_nodes().
 *
 * Since 0.1.
 */
struct QmpQueryNamedBlockNodesArguments {
    /** Whether `flat` is present. */
    bool has_flat;
    /** true to leave out backing images (default: false) */
    bool flat;
};

/**
 * The arguments of libqmp_block_resize().
 *
 * Since 0.1.
 */
struct QmpBlockResizeArguments {
    /** the name of the disk (NULL: absent) */
    const char *device;
    /** the name of its node; one of the two is given (NULL: absent) */
    const char *node_name;
    /** the new size in bytes, a multiple of 512 */
    int64_t size;
};

/**
 * The data of BLOCK_IO_ERROR.
 *
 * Feature `rate-limited`: As a default event it is sent at most once a second for each `qom-path`,
 * the last one within a second at its end.  On a connection every one is sent.
 *
 * Feature `replayed`: The last one of each disk with action stop is replayed to late subscribers
 * until the machine runs again, as long as the disk's io-status is not ok.
 *
 * Since 0.1.
 */
struct QmpBlockIoError {
    /** the path of the device that the guest sees */
    const char *qom_path;
    /** the name of the disk */
    const char *device;
    /** the name of the node that failed (NULL: absent) */
    const char *node_name;
    /** the request's operation */
    QmpIoOperationType operation;
    /** what the error policy did */
    QmpBlockErrorAction action;
    /** Whether `nospace` is present. */
    bool has_nospace;
    /** true if the host has no space left; absent if the disk has no io-status */
    bool nospace;
    /** the host's description of the error, for people */
    const char *reason;
};

/**
 * The data of BLOCK_WRITE_THRESHOLD.
 *
 * Since 0.1.
 */
struct QmpBlockWriteThreshold {
    /** the name of the node */
    const char *node_name;
    /** number of bytes by which the request exceeds the threshold */
    uint64_t amount_exceeded;
    /** the threshold, an offset in bytes */
    uint64_t write_threshold;
};

/**
 * The arguments of libqmp_block_set_write_threshold().
 *
 * Since 0.1.
 */
struct QmpBlockSetWriteThresholdArguments {
    /** the name of the node */
    const char *node_name;
    /** the threshold in bytes; zero clears it */
    uint64_t write_threshold;
};

/**
 * The data of BLOCK_IMAGE_CORRUPTED.
 *
 * Since 0.1.
 */
struct QmpBlockImageCorrupted {
    /** the name of the disk */
    const char *device;
    /** the name of the node whose image it is (NULL: absent) */
    const char *node_name;
    /** what was found, for people */
    const char *msg;
    /** Whether `offset` is present. */
    bool has_offset;
    /**
     * offset in the image's file at which a request would have been performed, in bytes, if there
     * was one
     */
    int64_t offset;
    /** Whether `size` is present. */
    bool has_size;
    /** the number of bytes of that request */
    int64_t size;
    /**
     * true if the image is no longer used: every later request fails, and the image is marked as
     * corrupt, if its version permits.  False for a read-only image, for which the event is raised
     * once.
     */
    bool fatal;
};

/**
 * The arguments of libqmp_block_fault_remove().
 *
 * Since 0.1.
 */
struct QmpBlockFaultRemoveArguments {
    /** the rule's name */
    const char *id;
};

/**
 * The arguments of libqmp_block_fault_clear().
 *
 * Since 0.1.
 */
struct QmpBlockFaultClearArguments {
    /** only those of this disk (default: of all disks) (NULL: absent) */
    const char *device;
};

/**
 * The arguments of libqmp_block_fault_release().
 *
 * Since 0.1.
 */
struct QmpBlockFaultReleaseArguments {
    /** the disk */
    const char *device;
    /** only the requests that this rule hangs, even if it has been removed (NULL: absent) */
    const char *id;
    /** Whether `ordinal` is present. */
    bool has_ordinal;
    /** only the request with this ordinal */
    uint64_t ordinal;
    /** Whether `how` is present. */
    bool has_how;
    /** what happens to them (default: perform) */
    QmpBlockFaultRelease how;
    /** the error that they fail with (default: EIO).  Only with "fail". (NULL: absent) */
    const QmpBlockFaultErrno *errno_;
};

/**
 * The arguments of libqmp_block_fault_set_state().
 *
 * Since 0.1.
 */
struct QmpBlockFaultSetStateArguments {
    /** the disk */
    const char *device;
    /** the state */
    const char *state;
};

/**
 * The arguments of libqmp_block_power_cut().
 *
 * Since 0.1.
 */
struct QmpBlockPowerCutArguments {
    /** Whether `survive` is present. */
    bool has_survive;
    /** what is kept of the volatile caches (default: none) */
    QmpBlockPowerCutSurvive survive;
    /** Whether `seed` is present. */
    bool has_seed;
    /** random choices follow from it (default: chosen by the machine) */
    uint64_t seed;
    /** Whether `tear_bytes` is present. */
    bool has_tear_bytes;
    /**
     * a torn write ends at a multiple of this; a power of two, at most 512 (default: 512, whole
     * sectors)
     */
    uint32_t tear_bytes;
    /** Whether `then` is present. */
    bool has_then;
    /** what the machine does afterwards (default: reset) */
    QmpBlockPowerCutThen then;
};

/**
 * The data of BLOCK_FAULT_INJECTED.
 *
 * Since 0.1.
 */
struct QmpBlockFaultInjected {
    /** the rule's name */
    const char *id;
    /** the disk */
    const char *device;
    /** the request's operation */
    QmpBlockFaultOperation operation;
    /** its first sector; 0 for a flush */
    uint64_t sector;
    /** its length in sectors */
    uint64_t sectors;
    /** the rule's action */
    QmpBlockFaultActionType action;
    /** the request's ordinal */
    uint64_t ordinal;
};

/**
 * The data of BLOCK_POWER_CUT.
 *
 * Since 0.1.
 */
struct QmpBlockPowerCut {
    /** the disk */
    const char *device;
    /** what was to be kept of its volatile cache */
    QmpBlockPowerCutSurvive survive;
    /** the seed of the random choices */
    uint64_t seed;
    /**
     * the number of writes in the volatile cache that are missing or incomplete.  They had been
     * reported as complete, except those in flight that the seed let reach the cache.
     */
    uint64_t writes;
    /** the number of sectors of these writes that are missing */
    uint64_t sectors;
    /**
     * why what was to be kept could not be written; its content is then unspecified (NULL: absent)
     */
    const char *error;
};

/* -----------------------------------------------------------------------------
 * Events
 * ----------------------------------------------------------------------------- */

/** One time that STOP was raised. */
typedef struct QmpStopOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
} QmpStopOccurrence;

/**
 * The machine has stopped: by libqmp_stop(), by the error policy of a disk, by a fault rule or a
 * power cut, because the guest panicked or shut down, or because KVM could not continue.
 *
 * Feature `replayed`: It is replayed to late subscribers until the machine runs again.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_stop_event() to
 * libqmp_stop_event_free() occurrences come.
 */
typedef struct QmpStopEvent QmpStopEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_stop_event_connect() was called with.
 */
typedef void (*QmpStopEventHandler)(const QmpStopOccurrence *occurrence, void *opaque);

/**
 * Connects to STOP. The caller owns the object and frees it with libqmp_stop_event_free(). NULL and
 * `*error` on failure.
 */
QmpStopEvent *libqmp_get_stop_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_stop_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpStopEvent *libqmp_get_stop_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_stop_event_disconnect(). 0 if `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_stop_event_connect(QmpStopEvent *event, QmpStopEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_stop_event_disconnect(QmpStopEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_stop_occurrence_free(). NULL and `*error`
 * if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpStopOccurrence *libqmp_stop_event_recv(QmpStopEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_stop_event_recv() returned. `occurrence` may be NULL. */
void libqmp_stop_occurrence_free(QmpStopOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_stop_event_free(QmpStopEvent *event);

/** One time that RESUME was raised. */
typedef struct QmpResumeOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
} QmpResumeOccurrence;

/**
 * The machine has started or continues.
 *
 * Feature `ends-replay`: The states that earlier events reported have ended, and are no longer
 * replayed.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_resume_event() to
 * libqmp_resume_event_free() occurrences come.
 */
typedef struct QmpResumeEvent QmpResumeEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_resume_event_connect() was called with.
 */
typedef void (*QmpResumeEventHandler)(const QmpResumeOccurrence *occurrence, void *opaque);

/**
 * Connects to RESUME. The caller owns the object and frees it with libqmp_resume_event_free(). NULL
 * and `*error` on failure.
 */
QmpResumeEvent *libqmp_get_resume_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_resume_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpResumeEvent *libqmp_get_resume_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_resume_event_disconnect(). 0 if `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_resume_event_connect(QmpResumeEvent *event, QmpResumeEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_resume_event_disconnect(QmpResumeEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_resume_occurrence_free(). NULL and
 * `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpResumeOccurrence *libqmp_resume_event_recv(QmpResumeEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_resume_event_recv() returned. `occurrence` may be NULL. */
void libqmp_resume_occurrence_free(QmpResumeOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_resume_event_free(QmpResumeEvent *event);

/** One time that SHUTDOWN was raised. */
typedef struct QmpShutdownOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpShutdown data;
} QmpShutdownOccurrence;

/**
 * The machine has shut down.  The program ends, unless the action for a shutdown is pause.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_shutdown_event() to
 * libqmp_shutdown_event_free() occurrences come.
 */
typedef struct QmpShutdownEvent QmpShutdownEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_shutdown_event_connect() was called with.
 */
typedef void (*QmpShutdownEventHandler)(const QmpShutdownOccurrence *occurrence, void *opaque);

/**
 * Connects to SHUTDOWN. The caller owns the object and frees it with libqmp_shutdown_event_free().
 * NULL and `*error` on failure.
 */
QmpShutdownEvent *libqmp_get_shutdown_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_shutdown_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpShutdownEvent *libqmp_get_shutdown_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_shutdown_event_disconnect(). 0 if `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_shutdown_event_connect(QmpShutdownEvent *event, QmpShutdownEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_shutdown_event_disconnect(QmpShutdownEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_shutdown_occurrence_free(). NULL and
 * `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpShutdownOccurrence *libqmp_shutdown_event_recv(QmpShutdownEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_shutdown_event_recv() returned. `occurrence` may be NULL. */
void libqmp_shutdown_occurrence_free(QmpShutdownOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_shutdown_event_free(QmpShutdownEvent *event);

/** One time that RESET was raised. */
typedef struct QmpResetOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpReset data;
} QmpResetOccurrence;

/**
 * The machine was reset.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_reset_event() to
 * libqmp_reset_event_free() occurrences come.
 */
typedef struct QmpResetEvent QmpResetEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_reset_event_connect() was called with.
 */
typedef void (*QmpResetEventHandler)(const QmpResetOccurrence *occurrence, void *opaque);

/**
 * Connects to RESET. The caller owns the object and frees it with libqmp_reset_event_free(). NULL
 * and `*error` on failure.
 */
QmpResetEvent *libqmp_get_reset_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_reset_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpResetEvent *libqmp_get_reset_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_reset_event_disconnect(). 0 if `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_reset_event_connect(QmpResetEvent *event, QmpResetEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_reset_event_disconnect(QmpResetEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_reset_occurrence_free(). NULL and
 * `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpResetOccurrence *libqmp_reset_event_recv(QmpResetEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_reset_event_recv() returned. `occurrence` may be NULL. */
void libqmp_reset_occurrence_free(QmpResetOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_reset_event_free(QmpResetEvent *event);

/** One time that POWERDOWN was raised. */
typedef struct QmpPowerdownOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
} QmpPowerdownOccurrence;

/**
 * A client has pressed the machine's power button by libqmp_system_powerdown().  The guest decides
 * what follows.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_powerdown_event() to
 * libqmp_powerdown_event_free() occurrences come.
 */
typedef struct QmpPowerdownEvent QmpPowerdownEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_powerdown_event_connect() was called with.
 */
typedef void (*QmpPowerdownEventHandler)(const QmpPowerdownOccurrence *occurrence, void *opaque);

/**
 * Connects to POWERDOWN. The caller owns the object and frees it with
 * libqmp_powerdown_event_free(). NULL and `*error` on failure.
 */
QmpPowerdownEvent *libqmp_get_powerdown_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_powerdown_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpPowerdownEvent *libqmp_get_powerdown_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_powerdown_event_disconnect(). 0 if `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_powerdown_event_connect(QmpPowerdownEvent *event, QmpPowerdownEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_powerdown_event_disconnect(QmpPowerdownEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_powerdown_occurrence_free(). NULL and
 * `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpPowerdownOccurrence *libqmp_powerdown_event_recv(QmpPowerdownEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_powerdown_event_recv() returned. `occurrence` may be NULL. */
void libqmp_powerdown_occurrence_free(QmpPowerdownOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_powerdown_event_free(QmpPowerdownEvent *event);

/** One time that GUEST_PANICKED was raised. */
typedef struct QmpGuestPanickedOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpGuestPanicked data;
} QmpGuestPanickedOccurrence;

/**
 * The guest has reported a panic by its pvpanic device.
 *
 * Feature `replayed`: One with action pause is replayed to late subscribers until the machine runs
 * again.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_guest_panicked_event() to
 * libqmp_guest_panicked_event_free() occurrences come.
 */
typedef struct QmpGuestPanickedEvent QmpGuestPanickedEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_guest_panicked_event_connect() was called with.
 */
typedef void (*QmpGuestPanickedEventHandler)(const QmpGuestPanickedOccurrence *occurrence, void *opaque);

/**
 * Connects to GUEST_PANICKED. The caller owns the object and frees it with
 * libqmp_guest_panicked_event_free(). NULL and `*error` on failure.
 */
QmpGuestPanickedEvent *libqmp_get_guest_panicked_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_guest_panicked_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpGuestPanickedEvent *libqmp_get_guest_panicked_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_guest_panicked_event_disconnect(). 0 if `event`
 * or `handler` is NULL.
 */
uint64_t libqmp_guest_panicked_event_connect(QmpGuestPanickedEvent *event, QmpGuestPanickedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_guest_panicked_event_disconnect(QmpGuestPanickedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_guest_panicked_occurrence_free(). NULL
 * and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpGuestPanickedOccurrence *libqmp_guest_panicked_event_recv(QmpGuestPanickedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_guest_panicked_event_recv() returned. `occurrence` may be NULL. */
void libqmp_guest_panicked_occurrence_free(QmpGuestPanickedOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_guest_panicked_event_free(QmpGuestPanickedEvent *event);

/** One time that GUEST_CRASHLOADED was raised. */
typedef struct QmpGuestCrashloadedOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpGuestCrashloaded data;
} QmpGuestCrashloadedOccurrence;

/**
 * The guest has reported by its pvpanic device that it panicked and that its crash kernel takes
 * over.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_guest_crashloaded_event() to
 * libqmp_guest_crashloaded_event_free() occurrences come.
 */
typedef struct QmpGuestCrashloadedEvent QmpGuestCrashloadedEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_guest_crashloaded_event_connect() was called with.
 */
typedef void (*QmpGuestCrashloadedEventHandler)(const QmpGuestCrashloadedOccurrence *occurrence, void *opaque);

/**
 * Connects to GUEST_CRASHLOADED. The caller owns the object and frees it with
 * libqmp_guest_crashloaded_event_free(). NULL and `*error` on failure.
 */
QmpGuestCrashloadedEvent *libqmp_get_guest_crashloaded_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_guest_crashloaded_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpGuestCrashloadedEvent *libqmp_get_guest_crashloaded_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_guest_crashloaded_event_disconnect(). 0 if
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_guest_crashloaded_event_connect(QmpGuestCrashloadedEvent *event, QmpGuestCrashloadedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_guest_crashloaded_event_disconnect(QmpGuestCrashloadedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_guest_crashloaded_occurrence_free(). NULL
 * and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpGuestCrashloadedOccurrence *libqmp_guest_crashloaded_event_recv(QmpGuestCrashloadedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_guest_crashloaded_event_recv() returned. `occurrence` may be NULL. */
void libqmp_guest_crashloaded_occurrence_free(QmpGuestCrashloadedOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_guest_crashloaded_event_free(QmpGuestCrashloadedEvent *event);

/** One time that BLOCK_IO_ERROR was raised. */
typedef struct QmpBlockIoErrorOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpBlockIoError data;
} QmpBlockIoErrorOccurrence;

/**
 * A request of a disk failed.
 *
 * Feature `rate-limited`: As a default event it is sent at most once a second for each `qom-path`,
 * the last one within a second at its end.  On a connection every one is sent.
 *
 * Feature `replayed`: The last one of each disk with action stop is replayed to late subscribers
 * until the machine runs again, as long as the disk's io-status is not ok.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_io_error_event() to
 * libqmp_block_io_error_event_free() occurrences come.
 */
typedef struct QmpBlockIoErrorEvent QmpBlockIoErrorEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_io_error_event_connect() was called with.
 */
typedef void (*QmpBlockIoErrorEventHandler)(const QmpBlockIoErrorOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_IO_ERROR. The caller owns the object and frees it with
 * libqmp_block_io_error_event_free(). NULL and `*error` on failure.
 */
QmpBlockIoErrorEvent *libqmp_get_block_io_error_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_io_error_event(), with arguments.
 *
 * `device`: only events about this device, or NULL for all.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpBlockIoErrorEvent *libqmp_get_block_io_error_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_io_error_event_disconnect(). 0 if `event`
 * or `handler` is NULL.
 */
uint64_t libqmp_block_io_error_event_connect(QmpBlockIoErrorEvent *event, QmpBlockIoErrorEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_block_io_error_event_disconnect(QmpBlockIoErrorEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_block_io_error_occurrence_free(). NULL
 * and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpBlockIoErrorOccurrence *libqmp_block_io_error_event_recv(QmpBlockIoErrorEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_io_error_event_recv() returned. `occurrence` may be NULL. */
void libqmp_block_io_error_occurrence_free(QmpBlockIoErrorOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_block_io_error_event_free(QmpBlockIoErrorEvent *event);

/** One time that BLOCK_WRITE_THRESHOLD was raised. */
typedef struct QmpBlockWriteThresholdOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpBlockWriteThreshold data;
} QmpBlockWriteThresholdOccurrence;

/**
 * A write, a write-zeroes or a discard that is about to be submitted ends beyond the threshold of
 * block-set-write-threshold.  This clears the threshold: the event is raised once for each time it
 * is set.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_write_threshold_event() to
 * libqmp_block_write_threshold_event_free() occurrences come.
 */
typedef struct QmpBlockWriteThresholdEvent QmpBlockWriteThresholdEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_write_threshold_event_connect() was called with.
 */
typedef void (*QmpBlockWriteThresholdEventHandler)(const QmpBlockWriteThresholdOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_WRITE_THRESHOLD. The caller owns the object and frees it with
 * libqmp_block_write_threshold_event_free(). NULL and `*error` on failure.
 */
QmpBlockWriteThresholdEvent *libqmp_get_block_write_threshold_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_write_threshold_event(), with arguments.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpBlockWriteThresholdEvent *libqmp_get_block_write_threshold_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_write_threshold_event_disconnect(). 0 if
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_block_write_threshold_event_connect(QmpBlockWriteThresholdEvent *event, QmpBlockWriteThresholdEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_block_write_threshold_event_disconnect(QmpBlockWriteThresholdEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_block_write_threshold_occurrence_free().
 * NULL and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpBlockWriteThresholdOccurrence *libqmp_block_write_threshold_event_recv(QmpBlockWriteThresholdEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_write_threshold_event_recv() returned. `occurrence` may be NULL. */
void libqmp_block_write_threshold_occurrence_free(QmpBlockWriteThresholdOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_block_write_threshold_event_free(QmpBlockWriteThresholdEvent *event);

/** One time that BLOCK_IMAGE_CORRUPTED was raised. */
typedef struct QmpBlockImageCorruptedOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpBlockImageCorrupted data;
} QmpBlockImageCorruptedOccurrence;

/**
 * An image's metadata are corrupt.  Not detected are an entry that refers to the wrong data
 * cluster, and a wrong refcount, unless it is that of a table.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_image_corrupted_event() to
 * libqmp_block_image_corrupted_event_free() occurrences come.
 */
typedef struct QmpBlockImageCorruptedEvent QmpBlockImageCorruptedEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_image_corrupted_event_connect() was called with.
 */
typedef void (*QmpBlockImageCorruptedEventHandler)(const QmpBlockImageCorruptedOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_IMAGE_CORRUPTED. The caller owns the object and frees it with
 * libqmp_block_image_corrupted_event_free(). NULL and `*error` on failure.
 */
QmpBlockImageCorruptedEvent *libqmp_get_block_image_corrupted_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_image_corrupted_event(), with arguments.
 *
 * `device`: only events about this device, or NULL for all.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpBlockImageCorruptedEvent *libqmp_get_block_image_corrupted_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_image_corrupted_event_disconnect(). 0 if
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_block_image_corrupted_event_connect(QmpBlockImageCorruptedEvent *event, QmpBlockImageCorruptedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_block_image_corrupted_event_disconnect(QmpBlockImageCorruptedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_block_image_corrupted_occurrence_free().
 * NULL and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpBlockImageCorruptedOccurrence *libqmp_block_image_corrupted_event_recv(QmpBlockImageCorruptedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_image_corrupted_event_recv() returned. `occurrence` may be NULL. */
void libqmp_block_image_corrupted_occurrence_free(QmpBlockImageCorruptedOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_block_image_corrupted_event_free(QmpBlockImageCorruptedEvent *event);

/** One time that BLOCK_FAULT_INJECTED was raised. */
typedef struct QmpBlockFaultInjectedOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpBlockFaultInjected data;
} QmpBlockFaultInjectedOccurrence;

/**
 * A rule has fired.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_fault_injected_event() to
 * libqmp_block_fault_injected_event_free() occurrences come.
 */
typedef struct QmpBlockFaultInjectedEvent QmpBlockFaultInjectedEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_fault_injected_event_connect() was called with.
 */
typedef void (*QmpBlockFaultInjectedEventHandler)(const QmpBlockFaultInjectedOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_FAULT_INJECTED. The caller owns the object and frees it with
 * libqmp_block_fault_injected_event_free(). NULL and `*error` on failure.
 */
QmpBlockFaultInjectedEvent *libqmp_get_block_fault_injected_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_fault_injected_event(), with arguments.
 *
 * `device`: only events about this device, or NULL for all.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpBlockFaultInjectedEvent *libqmp_get_block_fault_injected_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_fault_injected_event_disconnect(). 0 if
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_block_fault_injected_event_connect(QmpBlockFaultInjectedEvent *event, QmpBlockFaultInjectedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_block_fault_injected_event_disconnect(QmpBlockFaultInjectedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_block_fault_injected_occurrence_free().
 * NULL and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpBlockFaultInjectedOccurrence *libqmp_block_fault_injected_event_recv(QmpBlockFaultInjectedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_fault_injected_event_recv() returned. `occurrence` may be NULL. */
void libqmp_block_fault_injected_occurrence_free(QmpBlockFaultInjectedOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_block_fault_injected_event_free(QmpBlockFaultInjectedEvent *event);

/** One time that BLOCK_POWER_CUT was raised. */
typedef struct QmpBlockPowerCutOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpBlockPowerCut data;
} QmpBlockPowerCutOccurrence;

/**
 * The power of a disk was cut and is back.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_power_cut_event() to
 * libqmp_block_power_cut_event_free() occurrences come.
 */
typedef struct QmpBlockPowerCutEvent QmpBlockPowerCutEvent;

/**
 * Called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_power_cut_event_connect() was called with.
 */
typedef void (*QmpBlockPowerCutEventHandler)(const QmpBlockPowerCutOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_POWER_CUT. The caller owns the object and frees it with
 * libqmp_block_power_cut_event_free(). NULL and `*error` on failure.
 */
QmpBlockPowerCutEvent *libqmp_get_block_power_cut_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_power_cut_event(), with arguments.
 *
 * `device`: only events about this device, or NULL for all.
 *
 * `initial`: whether the current state, if there is one, is the first occurrence.
 */
QmpBlockPowerCutEvent *libqmp_get_block_power_cut_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_power_cut_event_disconnect(). 0 if
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_block_power_cut_event_connect(QmpBlockPowerCutEvent *event, QmpBlockPowerCutEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False if there is none of that number. */
bool libqmp_block_power_cut_event_disconnect(QmpBlockPowerCutEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number
 * waits without a limit. While the object has handlers, they receive all occurrences.
 *
 * The caller owns the occurrence and frees it with libqmp_block_power_cut_occurrence_free(). NULL
 * and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed.
 */
QmpBlockPowerCutOccurrence *libqmp_block_power_cut_event_recv(QmpBlockPowerCutEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_power_cut_event_recv() returned. `occurrence` may be NULL. */
void libqmp_block_power_cut_occurrence_free(QmpBlockPowerCutOccurrence *occurrence);

/**
 * Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs
 * in another thread. A handler may free the object that it was called for. `event` may be NULL.
 */
void libqmp_block_power_cut_event_free(QmpBlockPowerCutEvent *event);

/* -----------------------------------------------------------------------------
 * Commands
 * ----------------------------------------------------------------------------- */

/**
 * Completes the negotiation.  Until it succeeds, only it and libqmp_disable_default_events() can be
 * executed; afterwards, every command but those two.
 *
 * Errors:
 * - If a capability is not offered, GenericError
 * - If the negotiation is complete, CommandNotFound
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_qmp_capabilities(QmpSession *session, const QmpQmpCapabilitiesArguments *arguments, QmpError **error);

/**
 * Returns the versions, as in the greeting.
 *
 * Returns: the versions
 *
 * The caller owns what is returned, and frees it with libqmp_version_info_free(). NULL and `*error`
 * on failure.
 *
 * Since 0.1.
 */
QmpVersionInfo *libqmp_query_version(QmpSession *session, QmpError **error);

/**
 * Frees a QmpVersionInfo that a function of this library returned, with all that it points to. The
 * argument may be NULL.
 */
void libqmp_version_info_free(QmpVersionInfo *value);

/**
 * Lists every command, the accessors of signals among them.
 *
 * Returns: the commands, sorted by name
 *
 * The caller owns what is returned, and frees it with libqmp_command_info_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpCommandInfoList *libqmp_query_commands(QmpSession *session, QmpError **error);

/**
 * Frees a QmpCommandInfoList that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_command_info_list_free(QmpCommandInfoList *value);

/**
 * Leaves the session without default events, which would arrive without being asked for and without
 * a tag.  It can be executed before libqmp_qmp_capabilities().
 *
 * Errors:
 * - If the negotiation is complete, CommandNotFound
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_disable_default_events(QmpSession *session, QmpError **error);

/**
 * Releases a connection handle.  No event with this tag is sent after the answer, and the handle is
 * never used again.
 *
 * Errors:
 * - If this session does not hold the handle, InvalidParameterValue
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_put_event(QmpSession *session, const QmpPutEventArguments *arguments, QmpError **error);

/**
 * Connects the session to a signal under a name that the client chooses.  The signal's events
 * arrive with that name as their id.  The answer is followed at once by the current state, if there
 * is one, as an event marked "initial": true.
 *
 * Errors:
 * - If there is no such event, GenericError
 * - If the id is in use in this session, GenericError
 * - If there is no such device, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_listen_event(QmpSession *session, const QmpListenEventArguments *arguments, QmpError **error);

/**
 * Ends a connection by its name.  No event with this id is sent after the answer, until the name is
 * used again.
 *
 * Errors:
 * - If the id is not in use in this session, GenericError
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_unlisten_event(QmpSession *session, const QmpUnlistenEventArguments *arguments, QmpError **error);

/**
 * Connects the session to a signal of an object.  In QMP it needs the capability "class-hints",
 * with which objects in answers are identified by a member "__jsonclass__" for the class and, where
 * a class has several objects, a member "id".  The messages of such a connection have the members
 * "signal", "connection", "arguments" (an event's data) and "timestamp".  In JSON-RPC they are
 * notifications like all others.
 *
 * The classes and their signals follow from the events: an event with a member "device" is a signal
 * of the class BlockDevice, whose id is the device, and is named like the event without "BLOCK_";
 * every other event is a signal of the class Machine, which has one object, without an id.  Names
 * of signals are in lower case with dashes.
 *
 * Returns: the connection, as { "__jsonclass__": "Connection", "id": 33 }
 *
 * Errors:
 * - If the capability is not enabled, CommandNotFound
 * - If the object is malformed, or has no such signal, GenericError
 * - If there is no such device, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * The caller owns the text, JSON, and frees it with libqmp_string_free(). NULL and `*error` on
 * failure.
 *
 * Since 0.1.
 */
char *libqmp_connect(QmpSession *session, const QmpConnectArguments *arguments, QmpError **error);

/**
 * Ends a connection that libqmp_connect() made.  Nothing is sent on it after the answer.
 *
 * Returns: null
 *
 * Errors:
 * - If the capability is not enabled, CommandNotFound
 * - If it is not a connection of this session, InvalidParameterValue
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_disconnect(QmpSession *session, const QmpDisconnectArguments *arguments, QmpError **error);

/**
 * Describes every command and every event, accessors included, and every type that they use.
 *
 * A client looks up a command or an event by name, and follows the names of types from there.
 * Types are named by numbers, which may change with each version.
 *
 * Returns: a description of each, in no particular order; names are unique
 *
 * The caller owns what is returned, and frees it with libqmp_schema_info_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpSchemaInfoList *libqmp_query_qmp_schema(QmpSession *session, QmpError **error);

/**
 * Frees a QmpSchemaInfoList that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_schema_info_list_free(QmpSchemaInfoList *value);

/**
 * Returns the state of the machine.
 *
 * Returns: the status
 *
 * The caller owns what is returned, and frees it with libqmp_status_info_free(). NULL and `*error`
 * on failure.
 *
 * Since 0.1.
 */
QmpStatusInfo *libqmp_query_status(QmpSession *session, QmpError **error);

/**
 * Frees a QmpStatusInfo that a function of this library returned, with all that it points to. The
 * argument may be NULL.
 */
void libqmp_status_info_free(QmpStatusInfo *value);

/**
 * Changes the responses to a reset, a shutdown and a panic, as the option **--action** does.
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_set_action(QmpSession *session, const QmpSetActionArguments *arguments, QmpError **error);

/**
 * Resets the machine, as its reset button would.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_system_reset(QmpSession *session, QmpError **error);

/**
 * Presses the machine's power button.  The guest decides whether and when it shuts down.
 *
 * Errors:
 * - GenericError if the machine has no power button (**--no-acpi**)
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_system_powerdown(QmpSession *session, QmpError **error);

/**
 * Lists the vCPUs without interrupting them.  A reset replaces their threads.
 *
 * Returns: the vCPUs, by number
 *
 * The caller owns what is returned, and frees it with libqmp_cpu_info_fast_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpCpuInfoFastList *libqmp_query_cpus_fast(QmpSession *session, QmpError **error);

/**
 * Frees a QmpCpuInfoFastList that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_cpu_info_fast_list_free(QmpCpuInfoFastList *value);

/**
 * Returns the size of guest memory.
 *
 * Returns: the size in bytes
 *
 * The caller owns what is returned, and frees it with libqmp_memory_info_free(). NULL and `*error`
 * on failure.
 *
 * Since 0.1.
 */
QmpMemoryInfo *libqmp_query_memory_size_summary(QmpSession *session, QmpError **error);

/**
 * Frees a QmpMemoryInfo that a function of this library returned, with all that it points to. The
 * argument may be NULL.
 */
void libqmp_memory_info_free(QmpMemoryInfo *value);

/**
 * Lists the threads that serve the disks: each disk has one.
 *
 * Returns: the threads, in the order of the disks
 *
 * The caller owns what is returned, and frees it with libqmp_io_thread_info_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpIOThreadInfoList *libqmp_query_iothreads(QmpSession *session, QmpError **error);

/**
 * Frees a QmpIOThreadInfoList that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_io_thread_info_list_free(QmpIOThreadInfoList *value);

/**
 * Returns the vsock device's state and statistics.
 *
 * Returns: the device; an empty list without one
 *
 * The caller owns what is returned, and frees it with libqmp_vsock_info_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpVsockInfoList *libqmp_query_vsock(QmpSession *session, QmpError **error);

/**
 * Frees a QmpVsockInfoList that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_vsock_info_list_free(QmpVsockInfoList *value);

/**
 * Returns whether the machine uses KVM.  It always does.
 *
 * Returns: whether KVM is present and in use
 *
 * The caller owns what is returned, and frees it with libqmp_kvm_info_free(). NULL and `*error` on
 * failure.
 *
 * Since 0.1.
 */
QmpKvmInfo *libqmp_query_kvm(QmpSession *session, QmpError **error);

/**
 * Frees a QmpKvmInfo that a function of this library returned, with all that it points to. The
 * argument may be NULL.
 */
void libqmp_kvm_info_free(QmpKvmInfo *value);

/**
 * Returns the name of the machine.
 *
 * Returns: its name
 *
 * The caller owns what is returned, and frees it with libqmp_name_info_free(). NULL and `*error` on
 * failure.
 *
 * Since 0.1.
 */
QmpNameInfo *libqmp_query_name(QmpSession *session, QmpError **error);

/**
 * Frees a QmpNameInfo that a function of this library returned, with all that it points to. The
 * argument may be NULL.
 */
void libqmp_name_info_free(QmpNameInfo *value);

/**
 * Stops the machine.  The answer is sent when the disks are drained.  Stopping a stopped machine
 * has no effect and is no error.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_stop(QmpSession *session, QmpError **error);

/**
 * Continues the machine.  Held requests are resubmitted in their order; one that fails again stops
 * the machine again.
 *
 * Errors:
 * - If the machine is in a state from which it cannot continue, GenericError
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_cont(QmpSession *session, QmpError **error);

/**
 * Ends the program.  The answer is sent before the end.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_quit(QmpSession *session, QmpError **error);

/**
 * Lists the disks.
 *
 * Returns: the disks, in the order of the command line
 *
 * The caller owns what is returned, and frees it with libqmp_block_info_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpBlockInfoList *libqmp_query_block(QmpSession *session, QmpError **error);

/**
 * Frees a QmpBlockInfoList that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_block_info_list_free(QmpBlockInfoList *value);

/**
 * Returns the disks' statistics.  A reset of the machine does not clear them.
 *
 * Returns: the statistics of each, in the order of the command line
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * The caller owns what is returned, and frees it with libqmp_block_stats_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpBlockStatsList *libqmp_query_blockstats(QmpSession *session, const QmpQueryBlockstatsArguments *arguments, QmpError **error);

/**
 * Frees a QmpBlockStatsList that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_block_stats_list_free(QmpBlockStatsList *value);

/**
 * Lists the nodes of the disks.
 *
 * Returns: the nodes, in the order of the command line
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * The caller owns what is returned, and frees it with libqmp_block_device_info_list_free(). NULL
 * and `*error` on failure.
 *
 * Since 0.1.
 */
QmpBlockDeviceInfoList *libqmp_query_named_block_nodes(QmpSession *session, const QmpQueryNamedBlockNodesArguments *arguments, QmpError **error);

/**
 * Frees a QmpBlockDeviceInfoList that a function of this library returned, with all that it points
 * to. The argument may be NULL.
 */
void libqmp_block_device_info_list_free(QmpBlockDeviceInfoList *value);

/**
 * Changes the size of a disk.  A running guest is notified.
 *
 * Requests in flight are drained first; the answer is sent when the size has changed.  A longer
 * disk reads as zeroes at its end.  Data beyond the end of a shorter disk are lost, and a held
 * request for them fails when the machine continues.  A block device is not changed: the disk can
 * be as long as the device, or shorter.
 *
 * Errors:
 * - GenericError if there is no such disk, if it is read-only, or if the host refuses the size
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_block_resize(QmpSession *session, const QmpBlockResizeArguments *arguments, QmpError **error);

/**
 * Changes the limits of a disk, whether the guest runs or not.  Throttled requests are scheduled
 * anew, and past requests no longer count.  A throttled request stays throttled while the machine
 * is stopped.
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_block_set_io_throttle(QmpSession *session, const QmpBlockIOThrottle *arguments, QmpError **error);

/**
 * Sets the write threshold of a node, as an offset in the guest's disk: the first request that
 * writes beyond it raises BLOCK_WRITE_THRESHOLD.  A disk has one node, which has the disk's name.
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_block_set_write_threshold(QmpSession *session, const QmpBlockSetWriteThresholdArguments *arguments, QmpError **error);

/**
 * Adds a rule behind the disk's other rules.  It is in force from the next request on.
 *
 * Returns: the name of the rule and its seed
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * The caller owns what is returned, and frees it with libqmp_block_fault_added_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpBlockFaultAdded *libqmp_block_fault_add(QmpSession *session, const QmpBlockFaultRule *arguments, QmpError **error);

/**
 * Frees a QmpBlockFaultAdded that a function of this library returned, with all that it points to.
 * The argument may be NULL.
 */
void libqmp_block_fault_added_free(QmpBlockFaultAdded *value);

/**
 * Removes a rule.  Requests that it delays or hangs stay delayed or hanging.
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_block_fault_remove(QmpSession *session, const QmpBlockFaultRemoveArguments *arguments, QmpError **error);

/**
 * Removes all rules and sets the state to "1".  Hanging requests stay hanging.
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_block_fault_clear(QmpSession *session, const QmpBlockFaultClearArguments *arguments, QmpError **error);

/**
 * Returns the rules of each disk and their counts.
 *
 * Returns: a list of disks, in the order of the command line
 *
 * The caller owns what is returned, and frees it with libqmp_block_fault_info_list_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpBlockFaultInfoList *libqmp_query_block_faults(QmpSession *session, QmpError **error);

/**
 * Frees a QmpBlockFaultInfoList that a function of this library returned, with all that it points
 * to. The argument may be NULL.
 */
void libqmp_block_fault_info_list_free(QmpBlockFaultInfoList *value);

/**
 * Releases hanging requests.  While the machine is stopped they wait for it to be continued.
 *
 * Returns: the number of requests
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * The caller owns what is returned, and frees it with libqmp_block_fault_released_free(). NULL and
 * `*error` on failure.
 *
 * Since 0.1.
 */
QmpBlockFaultReleased *libqmp_block_fault_release(QmpSession *session, const QmpBlockFaultReleaseArguments *arguments, QmpError **error);

/**
 * Frees a QmpBlockFaultReleased that a function of this library returned, with all that it points
 * to. The argument may be NULL.
 */
void libqmp_block_fault_released_free(QmpBlockFaultReleased *value);

/**
 * Sets the state of a disk's rules.
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_block_fault_set_state(QmpSession *session, const QmpBlockFaultSetStateArguments *arguments, QmpError **error);

/**
 * Cuts the machine's power.  Every disk loses what `survive` does not keep of its volatile cache,
 * and raises BLOCK_POWER_CUT.  Requests in flight are performed or lost, as the seed decides, and
 * not answered.  The answer is sent afterwards, after RESET, STOP or SHUTDOWN, as `then` says.
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True on success; false and `*error` on failure.
 *
 * Since 0.1.
 */
bool libqmp_block_power_cut(QmpSession *session, const QmpBlockPowerCutArguments *arguments, QmpError **error);

#ifdef __cplusplus
}
#endif

#endif /* LIBQMP_H */
