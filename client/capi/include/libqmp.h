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
 * The first part of this header is the library's own: errors, sessions, events by name. The rest is made of the
 * schema, in these forms:
 *
 *   - A command `query-block` is a function libqmp_query_block(). Its arguments, if it has any, are one structure.
 *   - A type `BlockInfo` is a structure QmpBlockInfo; an array of them is a QmpBlockInfoList. An enumeration
 *     `RunState` is QmpRunState, with constants as QMP_RUN_STATE_IO_ERROR, and libqmp_run_state_name() knows what
 *     they are on the wire.
 *   - A member `node-name` is `node_name`. One that is a word of C's or C++'s, or a macro of the C library's, has an
 *     underscore behind it: `errno_`, `class_`.
 *   - How it is said that a member is absent depends on what it is: numbers, truth values and enumerations have a
 *     `has_...` before them; strings, structures and lists are NULL. A structure that would hold itself is behind a
 *     pointer as well.
 *   - A type with branches has them in a union `u`, and the member before it says which one is there; a type that is
 *     one of several has a `kind` for that.
 *   - Where the schema allows any value it is a string of JSON.
 *   - An event `BLOCK_IO_ERROR` is an object QmpBlockIoErrorEvent, which libqmp_get_block_io_error_event() makes, and
 *     which hands out structures QmpBlockIoErrorOccurrence, to handlers or to who waits for them.
 *
 * Who owns what
 *
 *   - What a function takes is the caller's: it is read during the call, not kept, and not changed. What a function
 *     takes away is said with it: all of those are called ..._free(), but for libqmp_session_new_fd().
 *   - What a function returns is the caller's, who frees it with the function that its documentation names, and
 *     once. A structure is freed as a whole, with all that it points to; none of the pointers in it is freed alone.
 *     Its contents are there as long as it is, and do not depend on the session.
 *   - What a handler is called with is the library's, and gone when the handler returns.
 *   - Strings end with a zero byte and are UTF-8. What a server says may have a character U+0000 in it; U+FFFD
 *     stands in its place (in JSON, which escapes it, it stands as it is).
 *
 * Arguments
 *
 *   - A pointer may be NULL where its documentation says so, and a member of a structure where it says "absent".
 *     NULL in any other place, a string that is not UTF-8, a number that is no value of its enumeration, or a text
 *     that should be JSON and is none: the function does nothing, and fails with QMP_ERROR_KIND_INVALID_ARGUMENT and
 *     a message that names the parameter or the member. Nothing can check that a pointer points to what it should,
 *     that a list is as long as it says, or that a structure does not contain itself; the caller answers for that.
 *   - A structure is best made with an initializer that names members (`= { .device = "disk0" }`; in C++, `= {}` and
 *     members set one by one): what is not named is zero, and what is optional is then absent.
 *
 * Errors
 *
 *   - A function that can fail has `QmpError **error` for its last parameter. It may be NULL, for who does not want
 *     to know why. Otherwise `*error` is written in any case, whatever was in it: NULL where nothing went wrong, or
 *     else an error that the caller frees with libqmp_error_free().
 *
 * Threads
 *
 *   - Every function can be called from any thread, and calls of several threads on one session, or one object, are
 *     in flight together, as long as none of them frees what another one uses. The library starts no thread.
 *   - Handlers run within libqmp_session_dispatch(), in the thread that calls it, and one at a time; never within
 *     another function. A handler may call any function of this header, may disconnect itself or others, and may
 *     free the object that it was called for, the session, and both. It must return: longjmp() and C++ exceptions
 *     must not leave it.
 *   - After fork() only the process that has made a session may use it.
 *
 * Lifetimes
 *
 *   - A session can be freed while objects of events are alive. They hold the connection, which ends with the last
 *     of them: libqmp_..._event_recv() goes on; handlers run no more, for there is nothing left to dispatch with.
 *   - When the connection is lost, every call that waits fails at once, as does every later one, with
 *     QMP_ERROR_KIND_CLOSED; occurrences that came before are still handed out. Everything has to be freed all the
 *     same.
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

/** What kind of failure it is. */
typedef enum QmpErrorKind {
    /** None: what was asked about was NULL. */
    QMP_ERROR_KIND_NONE = 0,
    /** The function was called with something that its documentation does not allow. */
    QMP_ERROR_KIND_INVALID_ARGUMENT = 1,
    /** Nobody could be connected to, or the program could not be started. */
    QMP_ERROR_KIND_CONNECT = 2,
    /** Who was connected to is no QMP server, or hung up before it was known. */
    QMP_ERROR_KIND_NOT_QMP = 3,
    /** The server refused the command; libqmp_error_class() and libqmp_error_description() say why. */
    QMP_ERROR_KIND_COMMAND = 4,
    /** What the server sent does not fit the type that the schema has for it. */
    QMP_ERROR_KIND_REPLY = 5,
    /** It did not come in time. */
    QMP_ERROR_KIND_TIMED_OUT = 6,
    /** The connection is at its end. */
    QMP_ERROR_KIND_CLOSED = 7,
    /** The server has no such event. */
    QMP_ERROR_KIND_EVENT_NOT_FOUND = 8,
    /** The operating system or this library failed. */
    QMP_ERROR_KIND_INTERNAL = 9
} QmpErrorKind;

/** What kind of failure the server says it is. */
typedef enum QmpErrorClass {
    /** The server has not said so: it did not refuse a command. */
    QMP_ERROR_CLASS_NONE = 0,
    /** Any failure that needs no kind of its own. */
    QMP_ERROR_CLASS_GENERIC_ERROR = 1,
    /** There is no such command, or not now. */
    QMP_ERROR_CLASS_COMMAND_NOT_FOUND = 2,
    /** There is no such device. */
    QMP_ERROR_CLASS_DEVICE_NOT_FOUND = 3,
    /** The device is there, but not in use. */
    QMP_ERROR_CLASS_DEVICE_NOT_ACTIVE = 4,
    /** The host's KVM cannot do what this needs. */
    QMP_ERROR_CLASS_KVM_MISSING_CAP = 5,
    /** A parameter is of the right type, and names nothing that is there. */
    QMP_ERROR_CLASS_INVALID_PARAMETER_VALUE = 6,
    /** One that this library does not know; libqmp_error_class_name() does. */
    QMP_ERROR_CLASS_OTHER = 7
} QmpErrorClass;

/** What kind of failure it is. `error` may be NULL. */
QmpErrorKind libqmp_error_kind(const QmpError *error);

/** The class that the server gave it. `error` may be NULL. */
QmpErrorClass libqmp_error_class(const QmpError *error);

/** The class as it is on the wire, or NULL where there is none. It is the error's. `error` may be NULL. */
const char *libqmp_error_class_name(const QmpError *error);

/** What went wrong, for people, in a line. It is the error's. NULL for NULL. */
const char *libqmp_error_message(const QmpError *error);

/** What the server said of it, without the class; where it is not the server's, the message. It is the error's. NULL for
 * NULL. */
const char *libqmp_error_description(const QmpError *error);

/** Frees an error; NULL is nothing to free. */
void libqmp_error_free(QmpError *error);

/* -----------------------------------------------------------------------------
 * Sessions
 * ----------------------------------------------------------------------------- */

/** A connection to a server. */
typedef struct QmpSession QmpSession;

/** How a session is made. Initialize it with QMP_SESSION_OPTIONS_INIT and set what should be otherwise. */
typedef struct QmpSessionOptions {
    /** The size of this structure, so that a later one can have more in it. */
    size_t size;
    /**
     * How many milliseconds each call may take, and without `within_ms` the connecting and the greeting, too; 0: for
     * ever. An answer that comes later is left alone.
     */
    uint64_t timeout_ms;
    /**
     * For how many milliseconds it is tried to connect, for a server that may have to start first, and how long the
     * server may take to greet; 0: one attempt, and for the greeting `timeout_ms`, or ten seconds.
     */
    uint64_t within_ms;
} QmpSessionOptions;

/** Options that nobody has set. */
#define QMP_SESSION_OPTIONS_INIT { sizeof(QmpSessionOptions), 0, 0 }

/**
 * Connects to the unix socket of a server, and negotiates with it.
 *
 * The caller owns the session and frees it with libqmp_session_free(). NULL and `*error` where that fails.
 */
QmpSession *libqmp_session_new_unix(const char *path, QmpError **error);

/**
 * Connects to `unix:PATH`, to `tcp:HOST:PORT`, or to a path: anything that does not begin as one of the two. `options` may be NULL.
 *
 * The caller owns the session and frees it with libqmp_session_free(). NULL and `*error` where that fails.
 */
QmpSession *libqmp_session_new(const char *address, const QmpSessionOptions *options, QmpError **error);

/**
 * Makes a session of a stream socket that is connected to a server. `options` may be NULL.
 *
 * The descriptor is taken: from now on it is the library's, which closes it, also where this fails. One that is not
 * open is refused.
 *
 * The caller owns the session and frees it with libqmp_session_free(). NULL and `*error` where that fails.
 */
QmpSession *libqmp_session_new_fd(int fd, const QmpSessionOptions *options, QmpError **error);

/**
 * Starts a program that serves this session alone, on a socket that it inherits and that `--qmp fd:N` at the end of its
 * arguments says, as Faultvisor has it. `argv` is the program, its arguments, and NULL; a program without a slash is
 * looked up in PATH. `options` may be NULL.
 *
 * The program ends with the connection. The caller owns the session and frees it with libqmp_session_free(). NULL and
 * `*error` where that fails.
 */
QmpSession *libqmp_session_new_spawn(char *const argv[], const QmpSessionOptions *options, QmpError **error);

/*
 * No session is made by a program whose compiler was told to make enumerations smaller than the library has them
 * (-fshort-enums): it does not compile. A macro, so that what remains of this header after preprocessing are declarations
 * that other languages can read.
 */
#define LIBQMP_ENUMERATIONS_ARE_INTS ((void)sizeof(char[sizeof(QmpErrorKind) == sizeof(int) ? 1 : -1]))
#define libqmp_session_new_unix(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new_unix(__VA_ARGS__))
#define libqmp_session_new(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new(__VA_ARGS__))
#define libqmp_session_new_fd(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new_fd(__VA_ARGS__))
#define libqmp_session_new_spawn(...) (LIBQMP_ENUMERATIONS_ARE_INTS, libqmp_session_new_spawn(__VA_ARGS__))

/** Whether the server has commands that connect to events. Where it has none, as QEMU, objects of events rest on the
 * events that it sends by default. False for NULL. */
bool libqmp_session_has_accessors(const QmpSession *session);

/**
 * A descriptor to poll() for POLLIN: readable whenever libqmp_session_dispatch() has something to do, and when the
 * connection is at its end. It is the session's, and nothing is to be done with it but wait. -1 for NULL.
 */
int libqmp_session_fd(const QmpSession *session);

/**
 * Takes what the server has sent, without waiting, and runs the handlers of the occurrences that are there, in this
 * thread. Called from within a handler, or while another thread is at it, it does nothing.
 *
 * Returns how many occurrences were handed to handlers; -1 and `*error`, of kind QMP_ERROR_KIND_CLOSED, if the connection
 * is at its end and all that came before has been handed on.
 */
int64_t libqmp_session_dispatch(QmpSession *session, QmpError **error);

/** Ends the connection: every call that waits, in whatever thread, and every later one fails with
 * QMP_ERROR_KIND_CLOSED. The session has to be freed all the same. `session` may be NULL. */
void libqmp_session_close(QmpSession *session);

/** Frees a session; NULL is nothing to free. The connection ends if no object of an event is left. */
void libqmp_session_free(QmpSession *session);

/**
 * Executes any command, whether this header has it or not. `arguments`: a JSON object, or NULL for none.
 *
 * The caller owns the answer, JSON, and frees it with libqmp_string_free(). NULL and `*error` where it fails.
 */
char *libqmp_execute_raw(QmpSession *session, const char *command, const char *arguments, QmpError **error);

/** The same out of band: before commands that came earlier. The server has to allow it for that command. */
char *libqmp_execute_raw_out_of_band(QmpSession *session, const char *command, const char *arguments, QmpError **error);

/** Frees a string that a function of this header returned as the caller's; NULL is nothing to free. */
void libqmp_string_free(char *text);

/* -----------------------------------------------------------------------------
 * Events by name
 * ----------------------------------------------------------------------------- */

/** When a server says that something happened, by its clock. */
typedef struct QmpTimestamp {
    /** Seconds since 1970. */
    int64_t seconds;
    /** The rest of them. */
    int64_t microseconds;
} QmpTimestamp;

/** What an event by name says. */
typedef struct QmpRawEventData {
    /** Its name, as "BLOCK_IO_ERROR". */
    const char *name;
    /** Its data, a JSON object. */
    const char *json;
} QmpRawEventData;

/** One time that such an event was raised. */
typedef struct QmpRawOccurrence {
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
    /** What it says. */
    QmpRawEventData data;
} QmpRawOccurrence;

/** The connection to one event, or to all of them, with what they say as JSON: from libqmp_get_event() or
 * libqmp_any_event() to libqmp_raw_event_free() occurrences come. */
typedef struct QmpRawEvent QmpRawEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_raw_event_connect() was called with.
 */
typedef void (*QmpRawEventHandler)(const QmpRawOccurrence *occurrence, void *opaque);

/**
 * Connects to the event of a name, whether this header has it or not. `device`: the only device to hear of, or NULL
 * for every one. `initial`: whether the present state, where there is one, comes first as an occurrence of its own.
 *
 * The caller owns the object and frees it with libqmp_raw_event_free(). NULL and `*error` where that fails.
 */
QmpRawEvent *libqmp_get_event(QmpSession *session, const char *name, const char *device, bool initial, QmpError **error);

/** Connects to every event that the server has. The caller owns the object and frees it with libqmp_raw_event_free(). NULL
 * and `*error` where that fails. */
QmpRawEvent *libqmp_any_event(QmpSession *session, QmpError **error);

/** Adds a handler, and returns its number for libqmp_raw_event_disconnect(). 0 where `event` or `handler` is NULL. */
uint64_t libqmp_raw_event_connect(QmpRawEvent *event, QmpRawEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_raw_event_disconnect(QmpRawEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a negative number waits
 * for ever. While the object has handlers, occurrences are theirs and nobody else's.
 *
 * The caller owns what is returned, and frees it with libqmp_raw_occurrence_free(). NULL and `*error` where there is
 * none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpRawOccurrence *libqmp_raw_event_recv(QmpRawEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_raw_event_recv() returned; NULL is nothing to free. */
void libqmp_raw_occurrence_free(QmpRawOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one that runs in another
 * thread is waited for. A handler may free the object that it was called for.
 */
void libqmp_raw_event_free(QmpRawEvent *event);

/** A value that says nothing: `null`. Whatever is in it means the same. */
typedef uint8_t QmpNull;

/* -----------------------------------------------------------------------------
 * Enumerations
 * ----------------------------------------------------------------------------- */

/**
 * What a client can switch on while it negotiates.  The greeting lists what the server offers.
 *
 * Since 0.1.
 */
typedef enum QmpQMPCapability {
    /** commands marked for it can be executed out of band, ahead of those that wait */
    QMP_QMP_CAPABILITY_OOB = 0,
    /** requests can be subscriptions to events */
    QMP_QMP_CAPABILITY_SUBSCRIBE = 1,
    /** objects in answers say what they are, and their signals can be connected to */
    QMP_QMP_CAPABILITY_CLASS_HINTS = 2
} QmpQMPCapability;

/**
 * The name of a value of QmpQMPCapability on the wire. It is the library's and lives as long as the
 * program. NULL for what is no value.
 */
const char *libqmp_qmp_capability_name(QmpQMPCapability value);

/**
 * What can be described.
 *
 * Since 0.1.
 */
typedef enum QmpSchemaMetaType {
    /** a type of the language, a string for one */
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
 * the program. NULL for what is no value.
 */
const char *libqmp_schema_meta_type_name(QmpSchemaMetaType value);

/**
 * What a value is in JSON.
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
 * program. NULL for what is no value.
 */
const char *libqmp_json_type_name(QmpJSONType value);

/**
 * What the machine is doing.  The values are QEMU's; those marked "never here" are states that this
 * machine cannot be in.
 *
 * Since 0.1.
 */
typedef enum QmpRunState {
    /** stopped by a debugger */
    QMP_RUN_STATE_DEBUG = 0,
    /** waits for the state of another machine; never here */
    QMP_RUN_STATE_INMIGRATE = 1,
    /** stopped because KVM could not go on with it */
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
    /** stopped to take on a saved state; never here */
    QMP_RUN_STATE_RESTORE_VM = 8,
    /** its processors run */
    QMP_RUN_STATE_RUNNING = 9,
    /** stopped to save its state; never here */
    QMP_RUN_STATE_SAVE_VM = 10,
    /** the guest has shut down, and the program was told to stay */
    QMP_RUN_STATE_SHUTDOWN = 11,
    /** the guest sleeps; never here */
    QMP_RUN_STATE_SUSPENDED = 12,
    /** stopped by a watchdog; never here */
    QMP_RUN_STATE_WATCHDOG = 13,
    /** the guest said that it cannot go on */
    QMP_RUN_STATE_GUEST_PANICKED = 14,
    /** stopped to keep in step with another machine; never here */
    QMP_RUN_STATE_COLO = 15
} QmpRunState;

/**
 * The name of a value of QmpRunState on the wire. It is the library's and lives as long as the
 * program. NULL for what is no value.
 */
const char *libqmp_run_state_name(QmpRunState value);

/**
 * Why the machine shut down or was reset.
 *
 * Since 0.1.
 */
typedef enum QmpShutdownCause {
    /** for no reason yet */
    QMP_SHUTDOWN_CAUSE_NONE = 0,
    /** the host could not go on with it */
    QMP_SHUTDOWN_CAUSE_HOST_ERROR = 1,
    /** a client executed libqmp_quit() */
    QMP_SHUTDOWN_CAUSE_HOST_QMP_QUIT = 2,
    /** a client executed libqmp_system_reset() */
    QMP_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET = 3,
    /** the program got a signal, SIGTERM for one */
    QMP_SHUTDOWN_CAUSE_HOST_SIGNAL = 4,
    /** somebody at the console asked for it */
    QMP_SHUTDOWN_CAUSE_HOST_UI = 5,
    /** the guest shut down */
    QMP_SHUTDOWN_CAUSE_GUEST_SHUTDOWN = 6,
    /** the guest reset itself */
    QMP_SHUTDOWN_CAUSE_GUEST_RESET = 7,
    /** the guest could not go on */
    QMP_SHUTDOWN_CAUSE_GUEST_PANIC = 8,
    /** a part of the machine was reset by itself */
    QMP_SHUTDOWN_CAUSE_SUBSYSTEM_RESET = 9,
    /** a saved state was taken on */
    QMP_SHUTDOWN_CAUSE_SNAPSHOT_LOAD = 10
} QmpShutdownCause;

/**
 * The name of a value of QmpShutdownCause on the wire. It is the library's and lives as long as the
 * program. NULL for what is no value.
 */
const char *libqmp_shutdown_cause_name(QmpShutdownCause value);

/**
 * What the machine does when it is reset.
 *
 * Since 0.1.
 */
typedef enum QmpRebootAction {
    /** start the guest again */
    QMP_REBOOT_ACTION_RESET = 0,
    /** what it does when the guest shuts down */
    QMP_REBOOT_ACTION_SHUTDOWN = 1
} QmpRebootAction;

/**
 * The name of a value of QmpRebootAction on the wire. It is the library's and lives as long as the
 * program. NULL for what is no value.
 */
const char *libqmp_reboot_action_name(QmpRebootAction value);

/**
 * What the machine does when the guest shuts down.
 *
 * Since 0.1.
 */
typedef enum QmpShutdownAction {
    /** the program ends */
    QMP_SHUTDOWN_ACTION_POWEROFF = 0,
    /** the machine stops, and waits for a client */
    QMP_SHUTDOWN_ACTION_PAUSE = 1
} QmpShutdownAction;

/**
 * The name of a value of QmpShutdownAction on the wire. It is the library's and lives as long as
 * the program. NULL for what is no value.
 */
const char *libqmp_shutdown_action_name(QmpShutdownAction value);

/**
 * What the machine does when the guest says that it cannot go on.
 *
 * Since 0.1.
 */
typedef enum QmpPanicAction {
    /** stop, and wait for a client */
    QMP_PANIC_ACTION_PAUSE = 0,
    /** what it does when the guest shuts down */
    QMP_PANIC_ACTION_SHUTDOWN = 1,
    /** the program ends with status 1 */
    QMP_PANIC_ACTION_EXIT_FAILURE = 2,
    /** nothing; the guest does what it has set out to */
    QMP_PANIC_ACTION_NONE = 3
} QmpPanicAction;

/**
 * The name of a value of QmpPanicAction on the wire. It is the library's and lives as long as the
 * program. NULL for what is no value.
 */
const char *libqmp_panic_action_name(QmpPanicAction value);

/**
 * What a watchdog does when its guest has not answered it.
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
    /** interrupt the guest's processors */
    QMP_WATCHDOG_ACTION_INJECT_NMI = 6
} QmpWatchdogAction;

/**
 * The name of a value of QmpWatchdogAction on the wire. It is the library's and lives as long as
 * the program. NULL for what is no value.
 */
const char *libqmp_watchdog_action_name(QmpWatchdogAction value);

/**
 * What the machine did when the guest said that it could not go on.
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
 * the program. NULL for what is no value.
 */
const char *libqmp_guest_panic_action_name(QmpGuestPanicAction value);

/**
 * The processors that a machine can have.
 *
 * Since 0.1.
 */
typedef enum QmpSysEmuTarget {
    /** x86 with 64 bits */
    QMP_SYS_EMU_TARGET_X86_64 = 0
} QmpSysEmuTarget;

/**
 * The name of a value of QmpSysEmuTarget on the wire. It is the library's and lives as long as the
 * program. NULL for what is no value.
 */
const char *libqmp_sys_emu_target_name(QmpSysEmuTarget value);

/**
 * What became of a disk's requests.
 *
 * Since 0.1.
 */
typedef enum QmpBlockDeviceIoStatus {
    /** the last one to be held back, if any, has been submitted again since */
    QMP_BLOCK_DEVICE_IO_STATUS_OK = 0,
    /** one is held back after an error */
    QMP_BLOCK_DEVICE_IO_STATUS_FAILED = 1,
    /** one is held back because the host has no space left */
    QMP_BLOCK_DEVICE_IO_STATUS_NOSPACE = 2
} QmpBlockDeviceIoStatus;

/**
 * The name of a value of QmpBlockDeviceIoStatus on the wire. It is the library's and lives as long
 * as the program. NULL for what is no value.
 */
const char *libqmp_block_device_io_status_name(QmpBlockDeviceIoStatus value);

/**
 * Whether writes of zeroes are looked for.
 *
 * Since 0.1.
 */
typedef enum QmpBlockdevDetectZeroesOptions {
    /** they are not */
    QMP_BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF = 0,
    /** they become requests to write zeroes */
    QMP_BLOCKDEV_DETECT_ZEROES_OPTIONS_ON = 1,
    /** they become requests to discard, where that reads as zeroes */
    QMP_BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP = 2
} QmpBlockdevDetectZeroesOptions;

/**
 * The name of a value of QmpBlockdevDetectZeroesOptions on the wire. It is the library's and lives
 * as long as the program. NULL for what is no value.
 */
const char *libqmp_blockdev_detect_zeroes_options_name(QmpBlockdevDetectZeroesOptions value);

/**
 * What a request was to do.
 *
 * Since 0.1.
 */
typedef enum QmpIoOperationType {
    /** to read */
    QMP_IO_OPERATION_TYPE_READ = 0,
    /** to write, or to flush what was written */
    QMP_IO_OPERATION_TYPE_WRITE = 1
} QmpIoOperationType;

/**
 * The name of a value of QmpIoOperationType on the wire. It is the library's and lives as long as
 * the program. NULL for what is no value.
 */
const char *libqmp_io_operation_type_name(QmpIoOperationType value);

/**
 * What became of a request that failed.
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
    /** the request is held back, and the machine stops */
    QMP_BLOCK_ERROR_ACTION_STOP = 2
} QmpBlockErrorAction;

/**
 * The name of a value of QmpBlockErrorAction on the wire. It is the library's and lives as long as
 * the program. NULL for what is no value.
 */
const char *libqmp_block_error_action_name(QmpBlockErrorAction value);

/**
 * What a request asks of a disk.
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultOperation {
    /** data */
    QMP_BLOCK_FAULT_OPERATION_READ = 0,
    /** to store data */
    QMP_BLOCK_FAULT_OPERATION_WRITE = 1,
    /** to make durable what was written */
    QMP_BLOCK_FAULT_OPERATION_FLUSH = 2,
    /** to forget what nobody needs any more */
    QMP_BLOCK_FAULT_OPERATION_DISCARD = 3,
    /** to let a part of the disk read as zeroes */
    QMP_BLOCK_FAULT_OPERATION_WRITE_ZEROES = 4
} QmpBlockFaultOperation;

/**
 * The name of a value of QmpBlockFaultOperation on the wire. It is the library's and lives as long
 * as the program. NULL for what is no value.
 */
const char *libqmp_block_fault_operation_name(QmpBlockFaultOperation value);

/**
 * What a rule does with a request.
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultActionType {
    /**
     * it fails.  From there on it is an error like every other: the disk's rerror and werror decide
     * what the guest hears of it, and BLOCK_IO_ERROR is raised.
     */
    QMP_BLOCK_FAULT_ACTION_TYPE_ERROR = 0,
    /** it is performed later, while others overtake it */
    QMP_BLOCK_FAULT_ACTION_TYPE_DELAY = 1,
    /** it is not performed until libqmp_block_fault_release() says what is to become of it */
    QMP_BLOCK_FAULT_ACTION_TYPE_HANG = 2,
    /** the data that a read returns, or that a write stores, are not what they should be */
    QMP_BLOCK_FAULT_ACTION_TYPE_CORRUPT = 3,
    /** only some of the sectors of a write reach the disk */
    QMP_BLOCK_FAULT_ACTION_TYPE_TORN = 4,
    /** it is reported as done and not performed.  For everything but reads. */
    QMP_BLOCK_FAULT_ACTION_TYPE_DROP = 5,
    /** a read or a write is performed at another place */
    QMP_BLOCK_FAULT_ACTION_TYPE_MISDIRECT = 6,
    /** the disk's rules are in another state from the next request on */
    QMP_BLOCK_FAULT_ACTION_TYPE_SET_STATE = 7,
    /** the machine stops before the request is performed, and libqmp_cont() performs it */
    QMP_BLOCK_FAULT_ACTION_TYPE_STOP = 8,
    /** the power fails before the request is performed */
    QMP_BLOCK_FAULT_ACTION_TYPE_POWER_CUT = 9
} QmpBlockFaultActionType;

/**
 * The name of a value of QmpBlockFaultActionType on the wire. It is the library's and lives as long
 * as the program. NULL for what is no value.
 */
const char *libqmp_block_fault_action_type_name(QmpBlockFaultActionType value);

/**
 * The names of the host's errors, as errno(3) has them.
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
 * as the program. NULL for what is no value.
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
    /** any, each as likely as not.  In a write of more than 32 MiB neighbours share their lot. */
    QMP_BLOCK_FAULT_TORN_KEEP_RANDOM = 2
} QmpBlockFaultTornKeep;

/**
 * The name of a value of QmpBlockFaultTornKeep on the wire. It is the library's and lives as long
 * as the program. NULL for what is no value.
 */
const char *libqmp_block_fault_torn_keep_name(QmpBlockFaultTornKeep value);

/**
 * Which of the writes that only the disk's volatile cache holds are there after a power cut.
 *
 * Since 0.1.
 */
typedef enum QmpBlockPowerCutSurvive {
    /** none */
    QMP_BLOCK_POWER_CUT_SURVIVE_NONE = 0,
    /** all */
    QMP_BLOCK_POWER_CUT_SURVIVE_ALL = 1,
    /**
     * the first of them, in the order in which they were done; chance decides how many.  The next
     * one is torn.
     */
    QMP_BLOCK_POWER_CUT_SURVIVE_PREFIX = 2,
    /** any of their sectors, each as likely as not.  The last write is torn. */
    QMP_BLOCK_POWER_CUT_SURVIVE_RANDOM = 3
} QmpBlockPowerCutSurvive;

/**
 * The name of a value of QmpBlockPowerCutSurvive on the wire. It is the library's and lives as long
 * as the program. NULL for what is no value.
 */
const char *libqmp_block_power_cut_survive_name(QmpBlockPowerCutSurvive value);

/**
 * What the machine does after a power cut.
 *
 * Since 0.1.
 */
typedef enum QmpBlockPowerCutThen {
    /** it begins again */
    QMP_BLOCK_POWER_CUT_THEN_RESET = 0,
    /** it stops.  When it is continued, the requests that were on their way fail with EIO. */
    QMP_BLOCK_POWER_CUT_THEN_STOP = 1,
    /** the program ends */
    QMP_BLOCK_POWER_CUT_THEN_QUIT = 2
} QmpBlockPowerCutThen;

/**
 * The name of a value of QmpBlockPowerCutThen on the wire. It is the library's and lives as long as
 * the program. NULL for what is no value.
 */
const char *libqmp_block_power_cut_then_name(QmpBlockPowerCutThen value);

/**
 * What becomes of requests that hang.
 *
 * Since 0.1.
 */
typedef enum QmpBlockFaultRelease {
    /** they are performed as if nothing had happened.  Rules do not look at them again. */
    QMP_BLOCK_FAULT_RELEASE_PERFORM = 0,
    /** they are reported as done and not performed */
    QMP_BLOCK_FAULT_RELEASE_COMPLETE = 1,
    /** they fail */
    QMP_BLOCK_FAULT_RELEASE_FAIL = 2
} QmpBlockFaultRelease;

/**
 * The name of a value of QmpBlockFaultRelease on the wire. It is the library's and lives as long as
 * the program. NULL for what is no value.
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
    /** the last one, for corrections */
    int64_t micro;
    /** the middle one */
    int64_t minor;
    /** the first one */
    int64_t major;
};

/**
 * What the server speaks, and what it is.
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
 * What else is said of a type of the language.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoBuiltin {
    /** what its values are in JSON */
    QmpJSONType json_type;
};

/**
 * What else is said of an enumeration.  In JSON its values are strings.
 *
 * Feature `deprecated`: `members` says what `values` says, and more.
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
 * What else is said of a list.  In JSON it is an array.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoArray {
    /** what each of its elements is */
    const char *element_type;
};

/**
 * What else is said of a type with members.  In JSON it is an object.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoObject {
    /** the members that every value has */
    QmpSchemaInfoObjectMemberList members;
    /**
     * the one of `members` whose value says which further members there are; absent if there are
     * never any (NULL: absent)
     */
    const char *tag;
    /** what each value of `tag` adds; there exactly if `tag` is (NULL: absent) */
    const QmpSchemaInfoObjectVariantList *variants;
};

/**
 * What else is said of a type that is one of several.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoAlternate {
    /** the types it may be; what a value is in JSON says which */
    QmpSchemaInfoAlternateMemberList members;
};

/**
 * What else is said of a command.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoCommand {
    /** the object type of its arguments */
    const char *arg_type;
    /** the type of its answer */
    const char *ret_type;
    /** Whether `allow_oob` is there. */
    bool has_allow_oob;
    /** true if it can be executed out of band; absent if it cannot */
    bool allow_oob;
};

/**
 * What else is said of an event.
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
    /** of a command or an event, its name; of a type, what the other descriptions call it */
    const char *name;
    /** what is described, and so which further members there are */
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
    /** what it holds */
    const char *type;
    /**
     * absent if the member must be there, and null if it may be left out.  What its absence means
     * is not said here. (NULL: absent)
     */
    const char *default_;
    /** the features it has; absent if it has none (NULL: absent) */
    const QmpStringList *features;
};

/**
 * What one value of a tag adds to an object.
 *
 * Since 0.1.
 */
struct QmpSchemaInfoObjectVariant {
    /** the value */
    const char *case_;
    /** the object type whose members are added */
    const char *type;
};

/**
 * One of several types.
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
    /** true if its processors run */
    bool running;
    /** what it is doing */
    QmpRunState status;
};

/**
 * A virtual processor's place in the machine.
 *
 * Since 0.1.
 */
struct QmpCpuInstanceProperties {
    /** Whether `socket_id` is there. */
    bool has_socket_id;
    /** its package */
    int64_t socket_id;
    /** Whether `core_id` is there. */
    bool has_core_id;
    /** its core in the package */
    int64_t core_id;
    /** Whether `thread_id` is there. */
    bool has_thread_id;
    /** its thread in the core */
    int64_t thread_id;
};

/**
 * A virtual processor.
 *
 * Since 0.1.
 */
struct QmpCpuInfoFast {
    /** its number, from 0 */
    int64_t cpu_index;
    /** its path in the tree of objects, as QEMU would have it */
    const char *qom_path;
    /** the thread of the host that it runs in */
    int64_t thread_id;
    /** its place in the machine (NULL: absent) */
    const QmpCpuInstanceProperties *props;
    /** what it is */
    QmpSysEmuTarget target;
};

/**
 * How much memory the guest has, in bytes.
 *
 * Since 0.1.
 */
struct QmpMemoryInfo {
    /** what it began with (**-m**) */
    uint64_t base_memory;
    /** Whether `plugged_memory` is there. */
    bool has_plugged_memory;
    /** what was added since: 0 */
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
    /** the thread of the host */
    int64_t thread_id;
    /** how long it looks for requests at most before it sleeps, in nanoseconds */
    int64_t poll_max_ns;
    /** how much longer it looks when that has paid; 0 for the factor that it comes with */
    int64_t poll_grow;
    /** how much shorter when it has not; 0 for the factor that it comes with */
    int64_t poll_shrink;
    /** most requests that are submitted together; 0 for the number that it comes with */
    int64_t aio_max_batch;
};

/**
 * What there is of KVM.
 *
 * Since 0.1.
 */
struct QmpKvmInfo {
    /** true if this machine runs on it */
    bool enabled;
    /** true if this program can use it */
    bool present;
};

/**
 * What the machine is called.
 *
 * Since 0.1.
 */
struct QmpNameInfo {
    /** the name it was given, absent if it was given none (NULL: absent) */
    const char *name;
};

/**
 * How a disk's writes reach the medium.
 *
 * Since 0.1.
 */
struct QmpBlockdevCacheInfo {
    /** true if a write is complete before the medium has it */
    bool writeback;
    /** true if the host's page cache is left out */
    bool direct;
    /** true if flushes do nothing */
    bool no_flush;
};

/**
 * An image: what it is, and how large.
 *
 * Since 0.1.
 */
struct QmpBlockNodeInfo {
    /** where it is */
    const char *filename;
    /** what it is, raw for one */
    const char *format;
    /** Whether `dirty_flag` is there. */
    bool has_dirty_flag;
    /** true if it was not closed properly the last time */
    bool dirty_flag;
    /** Whether `actual_size` is there. */
    bool has_actual_size;
    /** bytes that it takes up on the host */
    int64_t actual_size;
    /** bytes that the guest sees */
    int64_t virtual_size;
    /** Whether `cluster_size` is there. */
    bool has_cluster_size;
    /** bytes that its format allocates at a time */
    int64_t cluster_size;
    /** Whether `encrypted` is there. */
    bool has_encrypted;
    /** true if it is encrypted */
    bool encrypted;
    /** Whether `compressed` is there. */
    bool has_compressed;
    /** true if it is compressed */
    bool compressed;
    /** the image under it, as it names it (NULL: absent) */
    const char *backing_filename;
    /** the image under it, by its whole path (NULL: absent) */
    const char *full_backing_filename;
    /** the format of the image under it (NULL: absent) */
    const char *backing_filename_format;
};

/**
 * An image, and those under it.
 *
 * Since 0.1.
 */
struct QmpImageInfo {
    /** where it is */
    const char *filename;
    /** what it is, raw for one */
    const char *format;
    /** Whether `dirty_flag` is there. */
    bool has_dirty_flag;
    /** true if it was not closed properly the last time */
    bool dirty_flag;
    /** Whether `actual_size` is there. */
    bool has_actual_size;
    /** bytes that it takes up on the host */
    int64_t actual_size;
    /** bytes that the guest sees */
    int64_t virtual_size;
    /** Whether `cluster_size` is there. */
    bool has_cluster_size;
    /** bytes that its format allocates at a time */
    int64_t cluster_size;
    /** Whether `encrypted` is there. */
    bool has_encrypted;
    /** true if it is encrypted */
    bool encrypted;
    /** Whether `compressed` is there. */
    bool has_compressed;
    /** true if it is compressed */
    bool compressed;
    /** the image under it, as it names it (NULL: absent) */
    const char *backing_filename;
    /** the image under it, by its whole path (NULL: absent) */
    const char *full_backing_filename;
    /** the format of the image under it (NULL: absent) */
    const char *backing_filename_format;
    /** the image under it (NULL: absent) */
    const QmpImageInfo *backing_image;
};

/**
 * What a disk has its data on.  Limits are zero where there is none.  As in QEMU, they are the
 * disk's and not the node's: query-block shows them, and query-named-block-nodes does not.
 *
 * Since 0.1.
 */
struct QmpBlockDeviceInfo {
    /** where the data is */
    const char *file;
    /** what the node is called (NULL: absent) */
    const char *node_name;
    /** true if it can only be read */
    bool ro;
    /** the format of the data */
    const char *drv;
    /** the image under it (NULL: absent) */
    const char *backing_file;
    /** how many images are under it */
    int64_t backing_file_depth;
    /**
     * true if the image is in use; false, in QEMU, while another machine has it.  Here always true
     */
    bool active;
    /** true if it is encrypted */
    bool encrypted;
    /** whether writes of zeroes are looked for */
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
    /** Whether `bps_max` is there. */
    bool has_bps_max;
    /** limit of bytes a second, reading and writing together, in a burst; absent without one */
    int64_t bps_max;
    /** Whether `bps_rd_max` is there. */
    bool has_bps_rd_max;
    /** limit of bytes read a second, in a burst; absent without one */
    int64_t bps_rd_max;
    /** Whether `bps_wr_max` is there. */
    bool has_bps_wr_max;
    /** limit of bytes written a second, in a burst; absent without one */
    int64_t bps_wr_max;
    /** Whether `iops_max` is there. */
    bool has_iops_max;
    /** limit of requests a second, reading and writing together, in a burst; absent without one */
    int64_t iops_max;
    /** Whether `iops_rd_max` is there. */
    bool has_iops_rd_max;
    /** limit of reads a second, in a burst; absent without one */
    int64_t iops_rd_max;
    /** Whether `iops_wr_max` is there. */
    bool has_iops_wr_max;
    /** limit of writes a second, in a burst; absent without one */
    int64_t iops_wr_max;
    /** Whether `bps_max_length` is there. */
    bool has_bps_max_length;
    /** seconds that a burst of `bps_max` may last */
    int64_t bps_max_length;
    /** Whether `bps_rd_max_length` is there. */
    bool has_bps_rd_max_length;
    /** seconds that a burst of `bps_rd_max` may last */
    int64_t bps_rd_max_length;
    /** Whether `bps_wr_max_length` is there. */
    bool has_bps_wr_max_length;
    /** seconds that a burst of `bps_wr_max` may last */
    int64_t bps_wr_max_length;
    /** Whether `iops_max_length` is there. */
    bool has_iops_max_length;
    /** seconds that a burst of `iops_max` may last */
    int64_t iops_max_length;
    /** Whether `iops_rd_max_length` is there. */
    bool has_iops_rd_max_length;
    /** seconds that a burst of `iops_rd_max` may last */
    int64_t iops_rd_max_length;
    /** Whether `iops_wr_max_length` is there. */
    bool has_iops_wr_max_length;
    /** seconds that a burst of `iops_wr_max` may last */
    int64_t iops_wr_max_length;
    /** Whether `iops_size` is there. */
    bool has_iops_size;
    /** bytes from which on a request counts as several; absent if none does */
    int64_t iops_size;
    /**
     * the group of disks that the limits are for, all together; absent without limits (NULL:
     * absent)
     */
    const char *group;
    /** how writes reach the medium */
    QmpBlockdevCacheInfo cache;
    /** the offset, in bytes, that a write past it would be told of; zero if none is set */
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
    /** true if its medium can be taken out */
    bool removable;
    /** true if the guest keeps its medium from being taken out */
    bool locked;
    /** its medium, absent if there is none (NULL: absent) */
    const QmpBlockDeviceInfo *inserted;
    /** Whether `io_status` is there. */
    bool has_io_status;
    /** what became of its requests, absent if its policy never stops the machine */
    QmpBlockDeviceIoStatus io_status;
};

/**
 * What a disk did during the last interval of some length.
 *
 * Since 0.1.
 */
struct QmpBlockDeviceTimedStats {
    /** its length in seconds */
    int64_t interval_length;
    /** the shortest that any of the reads took, in nanoseconds */
    int64_t min_rd_latency_ns;
    /** the longest that any of the reads took, in nanoseconds */
    int64_t max_rd_latency_ns;
    /** the average that the reads took, in nanoseconds */
    int64_t avg_rd_latency_ns;
    /** the shortest that any of the writes took, in nanoseconds */
    int64_t min_wr_latency_ns;
    /** the longest that any of the writes took, in nanoseconds */
    int64_t max_wr_latency_ns;
    /** the average that the writes took, in nanoseconds */
    int64_t avg_wr_latency_ns;
    /** the shortest that any of the appends to a zone took, in nanoseconds */
    int64_t min_zone_append_latency_ns;
    /** the longest that any of the appends to a zone took, in nanoseconds */
    int64_t max_zone_append_latency_ns;
    /** the average that the appends to a zone took, in nanoseconds */
    int64_t avg_zone_append_latency_ns;
    /** the shortest that any of the flushes took, in nanoseconds */
    int64_t min_flush_latency_ns;
    /** the longest that any of the flushes took, in nanoseconds */
    int64_t max_flush_latency_ns;
    /** the average that the flushes took, in nanoseconds */
    int64_t avg_flush_latency_ns;
    /** how many reads were on their way on average */
    double avg_rd_queue_depth;
    /** how many writes were on their way on average */
    double avg_wr_queue_depth;
    /** how many appends to a zone were on their way on average */
    double avg_zone_append_queue_depth;
};

/**
 * What a disk has done since the program was started.  A request is counted when it ends, before
 * the guest is told, and as what the guest is told: one whose error is ignored as done, one that is
 * held back not before it is submitted again. There is no request to discard and none to append to
 * a zone: their numbers are zero.
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
    /** reads that were done */
    int64_t rd_operations;
    /** writes that were done */
    int64_t wr_operations;
    /** appends to a zone that were done */
    int64_t zone_append_operations;
    /** flushes that were done */
    int64_t flush_operations;
    /** discards that were done */
    int64_t unmap_operations;
    /**
     * nanoseconds that reads took together, each to its end from when the disk took it, or took it
     * up again; waiting for the disk's limits counts
     */
    int64_t rd_total_time_ns;
    /** the same for writes */
    int64_t wr_total_time_ns;
    /** the same for appends to a zone */
    int64_t zone_append_total_time_ns;
    /** the same for flushes */
    int64_t flush_total_time_ns;
    /** the same for discards */
    int64_t unmap_total_time_ns;
    /** where the furthest write ended, in bytes from the start of the disk */
    int64_t wr_highest_offset;
    /** reads that became part of another; none does */
    int64_t rd_merged;
    /** writes that became part of another; none does */
    int64_t wr_merged;
    /** appends to a zone that became part of another */
    int64_t zone_append_merged;
    /** discards that became part of another */
    int64_t unmap_merged;
    /** Whether `idle_time_ns` is there. */
    bool has_idle_time_ns;
    /** nanoseconds since a request ended, absent if none has */
    int64_t idle_time_ns;
    /** reads that failed */
    int64_t failed_rd_operations;
    /** writes that failed */
    int64_t failed_wr_operations;
    /** appends to a zone that failed */
    int64_t failed_zone_append_operations;
    /** flushes that failed */
    int64_t failed_flush_operations;
    /** discards that failed */
    int64_t failed_unmap_operations;
    /** reads that the disk cannot do and the host was not asked for, such as one past its end */
    int64_t invalid_rd_operations;
    /** the same for writes */
    int64_t invalid_wr_operations;
    /** the same for appends to a zone */
    int64_t invalid_zone_append_operations;
    /** the same for flushes */
    int64_t invalid_flush_operations;
    /** the same for discards */
    int64_t invalid_unmap_operations;
    /** true if invalid requests end an idle time; they always do */
    bool account_invalid;
    /** true if failed requests end an idle time and their time counts; they always do */
    bool account_failed;
    /** the same for intervals; there are none */
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
    /** what the node is called (NULL: absent) */
    const char *node_name;
    /** the numbers */
    QmpBlockDeviceStats stats;
    /** those of the node under it (NULL: absent) */
    const QmpBlockStats *parent;
    /** those of the image under it (NULL: absent) */
    const QmpBlockStats *backing;
};

/**
 * The limits of a disk, in bytes and in requests.  A limit of zero is none, and without any the
 * disk leaves its group. Each is from 0 to 1000000000000000.  A total goes with no limit of a part
 * of it.
 *
 * Reads, writes and writes of zeroes are limited; flushes and discards are not.  A request may be
 * larger than a limit: it goes whole, and the next ones wait for longer.  Without a burst, a tenth
 * of a second's worth may go at once.
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
    /** Whether `bps_max` is there. */
    bool has_bps_max;
    /** limit of bytes a second, reading and writing together, in a burst (default: none) */
    int64_t bps_max;
    /** Whether `bps_rd_max` is there. */
    bool has_bps_rd_max;
    /** limit of bytes read a second, in a burst (default: none) */
    int64_t bps_rd_max;
    /** Whether `bps_wr_max` is there. */
    bool has_bps_wr_max;
    /** limit of bytes written a second, in a burst (default: none) */
    int64_t bps_wr_max;
    /** Whether `iops_max` is there. */
    bool has_iops_max;
    /** limit of requests a second, reading and writing together, in a burst (default: none) */
    int64_t iops_max;
    /** Whether `iops_rd_max` is there. */
    bool has_iops_rd_max;
    /** limit of reads a second, in a burst (default: none) */
    int64_t iops_rd_max;
    /** Whether `iops_wr_max` is there. */
    bool has_iops_wr_max;
    /** limit of writes a second, in a burst (default: none) */
    int64_t iops_wr_max;
    /** Whether `bps_max_length` is there. */
    bool has_bps_max_length;
    /** seconds that a burst of `bps_max` may last (default: 1) */
    int64_t bps_max_length;
    /** Whether `bps_rd_max_length` is there. */
    bool has_bps_rd_max_length;
    /** seconds that a burst of `bps_rd_max` may last (default: 1) */
    int64_t bps_rd_max_length;
    /** Whether `bps_wr_max_length` is there. */
    bool has_bps_wr_max_length;
    /** seconds that a burst of `bps_wr_max` may last (default: 1) */
    int64_t bps_wr_max_length;
    /** Whether `iops_max_length` is there. */
    bool has_iops_max_length;
    /** seconds that a burst of `iops_max` may last (default: 1) */
    int64_t iops_max_length;
    /** Whether `iops_rd_max_length` is there. */
    bool has_iops_rd_max_length;
    /** seconds that a burst of `iops_rd_max` may last (default: 1) */
    int64_t iops_rd_max_length;
    /** Whether `iops_wr_max_length` is there. */
    bool has_iops_wr_max_length;
    /** seconds that a burst of `iops_wr_max` may last (default: 1) */
    int64_t iops_wr_max_length;
    /** Whether `iops_size` is there. */
    bool has_iops_size;
    /** bytes from which on a request counts as several (default: none does) */
    int64_t iops_size;
    /**
     * the group that the disk is to be in.  The disks of a group share its limits, and take turns;
     * setting the limits of one sets them for all.  (default: the group that it is in, or else one
     * of its own, of the disk's name) (NULL: absent)
     */
    const char *group;
};

/** Which alternative a QmpBlockFaultErrno is. */
typedef enum QmpBlockFaultErrnoKind {
    /** its name, as "EIO" */
    QMP_BLOCK_FAULT_ERRNO_KIND_NAME = 0,
    /** its number on Linux for x86-64, as 5 */
    QMP_BLOCK_FAULT_ERRNO_KIND_NUMBER = 1
} QmpBlockFaultErrnoKind;

/**
 * An error of the host's.
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
    /** what the request fails with */
    QmpBlockFaultErrno errno_;
    /** Whether `after` is there. */
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
    /** how many of a hundred requests have at most this delay; from 0 to 100 */
    double percentile;
    /** the delay */
    uint64_t microseconds;
};

/**
 * How long a request is delayed: one of a fixed time, two bounds, or a list.  At most an hour.
 *
 * Since 0.1.
 */
struct QmpBlockFaultDelay {
    /** Whether `microseconds` is there. */
    bool has_microseconds;
    /** always so long */
    uint64_t microseconds;
    /** Whether `min_microseconds` is there. */
    bool has_min_microseconds;
    /** any time from this on, each as likely as the others */
    uint64_t min_microseconds;
    /** Whether `max_microseconds` is there. */
    bool has_max_microseconds;
    /** the longest of those times */
    uint64_t max_microseconds;
    /**
     * points of a distribution, in growing order.  Between two points it is straight, below the
     * first one constant; the last one has to be the 100th percentile. (NULL: absent)
     */
    const QmpBlockFaultPercentileList *percentiles;
};

/**
 * How data is changed: either bits that chance chooses, or bytes that are overwritten.  What lies
 * behind the end of a request's data is left out.
 *
 * Since 0.1.
 */
struct QmpBlockFaultCorrupt {
    /** Whether `flip_bits` is there. */
    bool has_flip_bits;
    /** so many different bits of the data are inverted; at most 65536 */
    uint32_t flip_bits;
    /**
     * bytes in hexadecimal, as "deadbeef", that the data is overwritten with; at most 4096 bytes
     * (NULL: absent)
     */
    const char *pattern;
    /** Whether `offset` is there. */
    bool has_offset;
    /** the first byte of the data that is overwritten (default: 0) */
    uint64_t offset;
    /** Whether `length` is there. */
    bool has_length;
    /**
     * the number of bytes that are overwritten, with the pattern again and again (default: as the
     * pattern has)
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
    /** Whether `keep_sectors` is there. */
    bool has_keep_sectors;
    /** how many they are, for `first` and `last` */
    uint64_t keep_sectors;
    /** what the request fails with afterwards (default: it is reported as done) (NULL: absent) */
    const QmpBlockFaultErrno *errno_;
};

/**
 * The request is performed at another place.
 *
 * Since 0.1.
 */
struct QmpBlockFaultMisdirect {
    /**
     * where the request is performed instead.  One that would end past the disk's end fails with
     * EIO.
     */
    uint64_t to_sector;
};

/**
 * The rules are in another state.
 *
 * Since 0.1.
 */
struct QmpBlockFaultSetState {
    /** the state from the next request on */
    const char *new_state;
};

/**
 * The power of the whole machine fails, so that every disk loses what it had in a volatile cache;
 * the rule's own disk at exactly this request.  The seed is the rule's.
 *
 * Since 0.1.
 */
struct QmpBlockFaultPowerCut {
    /** Whether `survive` is there. */
    bool has_survive;
    /** what of it is left (default: none) */
    QmpBlockPowerCutSurvive survive;
    /** Whether `tear_bytes` is there. */
    bool has_tear_bytes;
    /**
     * a torn write ends at a multiple of this; a power of two, at most 512 (default: 512, whole
     * sectors)
     */
    uint32_t tear_bytes;
    /** Whether `then` is there. */
    bool has_then;
    /** what the machine does afterwards (default: reset) */
    QmpBlockPowerCutThen then;
};

/**
 * Which requests, and what becomes of them.  All conditions have to hold.
 *
 * Since 0.1.
 */
struct QmpBlockFaultRule {
    /**
     * the rule's name, which no other rule of any disk has (default: one that is free) (NULL:
     * absent)
     */
    const char *id;
    /** the disk */
    const char *device;
    /**
     * what the requests ask for (default: everything that the action can be done to) (NULL: absent)
     */
    const QmpBlockFaultOperationList *operations;
    /** Whether `sector` is there. */
    bool has_sector;
    /**
     * the first sector of a part of the disk that the request overlaps, in units of 512 bytes
     * (default: any request).  A flush is about no part.
     */
    uint64_t sector;
    /** Whether `sectors` is there. */
    bool has_sectors;
    /** the length of that part (default: 1 if `sector` is given) */
    uint64_t sectors;
    /**
     * the state that the disk's rules are in.  They begin in the state "1", as those of blkdebug.
     * (NULL: absent)
     */
    const char *state;
    /** Whether `min_bytes` is there. */
    bool has_min_bytes;
    /** the least length of the request */
    uint64_t min_bytes;
    /** Whether `max_bytes` is there. */
    bool has_max_bytes;
    /** the greatest */
    uint64_t max_bytes;
    /** Whether `skip` is there. */
    bool has_skip;
    /** so many requests for which all of the above holds are let pass first (default: 0) */
    uint64_t skip;
    /** Whether `count` is there. */
    bool has_count;
    /** the rule fires at most so many times (default: without end) */
    uint64_t count;
    /** Whether `probability` is there. */
    bool has_probability;
    /** it fires with this probability, from 0 to 1 (default: 1) */
    double probability;
    /** Whether `seed` is there. */
    bool has_seed;
    /** what chance decides follows from it (default: a number that the machine chooses) */
    uint64_t seed;
    /** what becomes of the request */
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
 * A rule and what it has done.
 *
 * Since 0.1.
 */
struct QmpBlockFaultRuleInfo {
    /** the rule, with its name and its seed */
    QmpBlockFaultRule rule;
    /** requests for which everything held that does not count or draw lots */
    uint64_t matches;
    /** how often it has fired */
    uint64_t hits;
};

/**
 * A request that hangs.
 *
 * Since 0.1.
 */
struct QmpBlockFaultHanging {
    /** its number on its disk */
    uint64_t ordinal;
    /** the rule that made it hang */
    const char *id;
    /** what it asks for */
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
    /** the state that its rules are in */
    const char *state;
    /** its rules, in their order */
    QmpBlockFaultRuleInfoList rules;
    /** the requests that hang, the oldest first */
    QmpBlockFaultHangingList hanging;
};

/**
 * What became of requests that hung.
 *
 * Since 0.1.
 */
struct QmpBlockFaultReleased {
    /** how many requests do not hang any more */
    uint64_t released;
};

/**
 * The arguments of libqmp_qmp_capabilities().
 *
 * Since 0.1.
 */
struct QmpQmpCapabilitiesArguments {
    /** what to switch on; each must be in the greeting's list (NULL: absent) */
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
    /** the only device to hear of, for an event that has a member "device" (NULL: absent) */
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
    /** the signal of the object, io-error for one */
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
 * Feature `notice`: It is no signal, and there is no accessor for it.
 *
 * Since 0.1.
 */
struct QmpEventsLost {
    /** the name of the events */
    const char *event;
    /** how many there were */
    uint64_t count;
};

/**
 * The data of SHUTDOWN.
 *
 * Since 0.1.
 */
struct QmpShutdown {
    /** true if the guest wanted it */
    bool guest;
    /** why */
    QmpShutdownCause reason;
};

/**
 * The data of RESET.
 *
 * Since 0.1.
 */
struct QmpReset {
    /** true if the guest wanted it */
    bool guest;
    /** why */
    QmpShutdownCause reason;
};

/**
 * The arguments of libqmp_set_action().
 *
 * Since 0.1.
 */
struct QmpSetActionArguments {
    /** Whether `reboot` is there. */
    bool has_reboot;
    /** when it is reset */
    QmpRebootAction reboot;
    /** Whether `shutdown` is there. */
    bool has_shutdown;
    /** when the guest shuts down */
    QmpShutdownAction shutdown;
    /** Whether `panic` is there. */
    bool has_panic;
    /** when the guest says that it cannot go on */
    QmpPanicAction panic;
    /** Whether `watchdog` is there. */
    bool has_watchdog;
    /**
     * when a watchdog has not been answered.  This machine has none, and so it changes nothing, as
     * in a machine of QEMU's without one
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
    /** what the machine does about it */
    QmpGuestPanicAction action;
};

/**
 * The data of GUEST_CRASHLOADED.
 *
 * Since 0.1.
 */
struct QmpGuestCrashloaded {
    /** what the machine does about it: always `run` */
    QmpGuestPanicAction action;
};

/**
 * The arguments of libqmp_query_blockstats().
 *
 * Since 0.1.
 */
struct QmpQueryBlockstatsArguments {
    /** Whether `query_nodes` is there. */
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
    /** Whether `flat` is there. */
    bool has_flat;
    /** true to leave out what is under each image (default: false) */
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
 * Feature `rate-limited`: As a default event it comes at most once a second for each `qom-path`,
 * the last one within the second at its end.  On a connection every one comes.
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
    /** what the request was to do */
    QmpIoOperationType operation;
    /** what became of it */
    QmpBlockErrorAction action;
    /** Whether `nospace` is there. */
    bool has_nospace;
    /** true if the host has no space left; absent if the disk has no io-status */
    bool nospace;
    /** the error as the host words it, for people */
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
    /** by how many bytes the request ends past the mark */
    uint64_t amount_exceeded;
    /** where the mark was, in bytes */
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
    /** where the mark is to be, in bytes; zero takes it away */
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
    /** Whether `offset` is there. */
    bool has_offset;
    /** where a request would have gone in the image's file, in bytes, if it is about one */
    int64_t offset;
    /** Whether `size` is there. */
    bool has_size;
    /** the number of bytes of that request */
    int64_t size;
    /**
     * true if the image is not used any more: every request fails from now on, and the image is
     * marked as corrupt, if its version has room for that.  False for an image that is only read;
     * of those it comes once.
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
    /**
     * only the requests that this rule made hang, even if it is not there any more (NULL: absent)
     */
    const char *id;
    /** Whether `ordinal` is there. */
    bool has_ordinal;
    /** only the request with this ordinal */
    uint64_t ordinal;
    /** Whether `how` is there. */
    bool has_how;
    /** what becomes of them (default: perform) */
    QmpBlockFaultRelease how;
    /** what they fail with (default: EIO).  Only with "fail". (NULL: absent) */
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
    /** Whether `survive` is there. */
    bool has_survive;
    /** what is left of what only volatile caches hold (default: none) */
    QmpBlockPowerCutSurvive survive;
    /** Whether `seed` is there. */
    bool has_seed;
    /** what chance decides follows from it (default: a number that the machine chooses) */
    uint64_t seed;
    /** Whether `tear_bytes` is there. */
    bool has_tear_bytes;
    /**
     * a torn write ends at a multiple of this; a power of two, at most 512 (default: 512, whole
     * sectors)
     */
    uint32_t tear_bytes;
    /** Whether `then` is there. */
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
    /** what the request asks for */
    QmpBlockFaultOperation operation;
    /** its first sector; 0 for a flush */
    uint64_t sector;
    /** its length in sectors */
    uint64_t sectors;
    /** what the rule does */
    QmpBlockFaultActionType action;
    /** the request's number on its disk */
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
    /** what was to be left of what its volatile cache held */
    QmpBlockPowerCutSurvive survive;
    /** what chance decided follows from it */
    uint64_t seed;
    /**
     * writes that were in the volatile cache and are not there, or not wholly.  They had been
     * reported as done, but for those that were on their way and that the seed let come that far.
     */
    uint64_t writes;
    /** sectors of these writes that are not there */
    uint64_t sectors;
    /**
     * why what should be left could not be written; then nothing more is known of it (NULL: absent)
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
 * The machine has stopped: by libqmp_stop(), or by the error policy of a disk.
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
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_stop_event_connect() was called with.
 */
typedef void (*QmpStopEventHandler)(const QmpStopOccurrence *occurrence, void *opaque);

/**
 * Connects to STOP. The caller owns the object and frees it with libqmp_stop_event_free(). NULL and
 * `*error` where that fails.
 */
QmpStopEvent *libqmp_get_stop_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_stop_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpStopEvent *libqmp_get_stop_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_stop_event_disconnect(). 0 where `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_stop_event_connect(QmpStopEvent *event, QmpStopEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_stop_event_disconnect(QmpStopEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_stop_occurrence_free(). NULL and
 * `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpStopOccurrence *libqmp_stop_event_recv(QmpStopEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_stop_event_recv() returned; NULL is nothing to free. */
void libqmp_stop_occurrence_free(QmpStopOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * The machine runs again.
 *
 * Feature `ends-replay`: What events before it told of is over, and is not replayed any more.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_resume_event() to
 * libqmp_resume_event_free() occurrences come.
 */
typedef struct QmpResumeEvent QmpResumeEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_resume_event_connect() was called with.
 */
typedef void (*QmpResumeEventHandler)(const QmpResumeOccurrence *occurrence, void *opaque);

/**
 * Connects to RESUME. The caller owns the object and frees it with libqmp_resume_event_free(). NULL
 * and `*error` where that fails.
 */
QmpResumeEvent *libqmp_get_resume_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_resume_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpResumeEvent *libqmp_get_resume_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_resume_event_disconnect(). 0 where `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_resume_event_connect(QmpResumeEvent *event, QmpResumeEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_resume_event_disconnect(QmpResumeEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_resume_occurrence_free(). NULL and
 * `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpResumeOccurrence *libqmp_resume_event_recv(QmpResumeEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_resume_event_recv() returned; NULL is nothing to free. */
void libqmp_resume_occurrence_free(QmpResumeOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * The machine has shut down, and the program is about to end unless it was told to stay.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_shutdown_event() to
 * libqmp_shutdown_event_free() occurrences come.
 */
typedef struct QmpShutdownEvent QmpShutdownEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_shutdown_event_connect() was called with.
 */
typedef void (*QmpShutdownEventHandler)(const QmpShutdownOccurrence *occurrence, void *opaque);

/**
 * Connects to SHUTDOWN. The caller owns the object and frees it with libqmp_shutdown_event_free().
 * NULL and `*error` where that fails.
 */
QmpShutdownEvent *libqmp_get_shutdown_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_shutdown_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpShutdownEvent *libqmp_get_shutdown_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_shutdown_event_disconnect(). 0 where `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_shutdown_event_connect(QmpShutdownEvent *event, QmpShutdownEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_shutdown_event_disconnect(QmpShutdownEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_shutdown_occurrence_free(). NULL and
 * `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpShutdownOccurrence *libqmp_shutdown_event_recv(QmpShutdownEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_shutdown_event_recv() returned; NULL is nothing to free. */
void libqmp_shutdown_occurrence_free(QmpShutdownOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_reset_event_connect() was called with.
 */
typedef void (*QmpResetEventHandler)(const QmpResetOccurrence *occurrence, void *opaque);

/**
 * Connects to RESET. The caller owns the object and frees it with libqmp_reset_event_free(). NULL
 * and `*error` where that fails.
 */
QmpResetEvent *libqmp_get_reset_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_reset_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpResetEvent *libqmp_get_reset_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_reset_event_disconnect(). 0 where `event` or
 * `handler` is NULL.
 */
uint64_t libqmp_reset_event_connect(QmpResetEvent *event, QmpResetEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_reset_event_disconnect(QmpResetEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_reset_occurrence_free(). NULL and
 * `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpResetOccurrence *libqmp_reset_event_recv(QmpResetEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_reset_event_recv() returned; NULL is nothing to free. */
void libqmp_reset_occurrence_free(QmpResetOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * A client has pressed the machine's power button, with libqmp_system_powerdown().  What follows is
 * up to the guest.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_powerdown_event() to
 * libqmp_powerdown_event_free() occurrences come.
 */
typedef struct QmpPowerdownEvent QmpPowerdownEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_powerdown_event_connect() was called with.
 */
typedef void (*QmpPowerdownEventHandler)(const QmpPowerdownOccurrence *occurrence, void *opaque);

/**
 * Connects to POWERDOWN. The caller owns the object and frees it with
 * libqmp_powerdown_event_free(). NULL and `*error` where that fails.
 */
QmpPowerdownEvent *libqmp_get_powerdown_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_powerdown_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpPowerdownEvent *libqmp_get_powerdown_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_powerdown_event_disconnect(). 0 where `event`
 * or `handler` is NULL.
 */
uint64_t libqmp_powerdown_event_connect(QmpPowerdownEvent *event, QmpPowerdownEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_powerdown_event_disconnect(QmpPowerdownEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_powerdown_occurrence_free(). NULL and
 * `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpPowerdownOccurrence *libqmp_powerdown_event_recv(QmpPowerdownEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_powerdown_event_recv() returned; NULL is nothing to free. */
void libqmp_powerdown_occurrence_free(QmpPowerdownOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * The guest has said, through its pvpanic device, that it cannot go on.
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
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_guest_panicked_event_connect() was called with.
 */
typedef void (*QmpGuestPanickedEventHandler)(const QmpGuestPanickedOccurrence *occurrence, void *opaque);

/**
 * Connects to GUEST_PANICKED. The caller owns the object and frees it with
 * libqmp_guest_panicked_event_free(). NULL and `*error` where that fails.
 */
QmpGuestPanickedEvent *libqmp_get_guest_panicked_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_guest_panicked_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpGuestPanickedEvent *libqmp_get_guest_panicked_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_guest_panicked_event_disconnect(). 0 where
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_guest_panicked_event_connect(QmpGuestPanickedEvent *event, QmpGuestPanickedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_guest_panicked_event_disconnect(QmpGuestPanickedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_guest_panicked_occurrence_free(). NULL
 * and `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpGuestPanickedOccurrence *libqmp_guest_panicked_event_recv(QmpGuestPanickedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_guest_panicked_event_recv() returned; NULL is nothing to free. */
void libqmp_guest_panicked_occurrence_free(QmpGuestPanickedOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * The guest has said, through its pvpanic device, that it could not go on and that a kernel of its
 * own takes over to look into it.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_guest_crashloaded_event() to
 * libqmp_guest_crashloaded_event_free() occurrences come.
 */
typedef struct QmpGuestCrashloadedEvent QmpGuestCrashloadedEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_guest_crashloaded_event_connect() was called with.
 */
typedef void (*QmpGuestCrashloadedEventHandler)(const QmpGuestCrashloadedOccurrence *occurrence, void *opaque);

/**
 * Connects to GUEST_CRASHLOADED. The caller owns the object and frees it with
 * libqmp_guest_crashloaded_event_free(). NULL and `*error` where that fails.
 */
QmpGuestCrashloadedEvent *libqmp_get_guest_crashloaded_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_guest_crashloaded_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpGuestCrashloadedEvent *libqmp_get_guest_crashloaded_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_guest_crashloaded_event_disconnect(). 0 where
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_guest_crashloaded_event_connect(QmpGuestCrashloadedEvent *event, QmpGuestCrashloadedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_guest_crashloaded_event_disconnect(QmpGuestCrashloadedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_guest_crashloaded_occurrence_free().
 * NULL and `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpGuestCrashloadedOccurrence *libqmp_guest_crashloaded_event_recv(QmpGuestCrashloadedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_guest_crashloaded_event_recv() returned; NULL is nothing to free. */
void libqmp_guest_crashloaded_occurrence_free(QmpGuestCrashloadedOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * Feature `rate-limited`: As a default event it comes at most once a second for each `qom-path`,
 * the last one within the second at its end.  On a connection every one comes.
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
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_io_error_event_connect() was called with.
 */
typedef void (*QmpBlockIoErrorEventHandler)(const QmpBlockIoErrorOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_IO_ERROR. The caller owns the object and frees it with
 * libqmp_block_io_error_event_free(). NULL and `*error` where that fails.
 */
QmpBlockIoErrorEvent *libqmp_get_block_io_error_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_io_error_event(), with arguments.
 *
 * `device`: the only device to hear of, or NULL for every one.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpBlockIoErrorEvent *libqmp_get_block_io_error_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_io_error_event_disconnect(). 0 where
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_block_io_error_event_connect(QmpBlockIoErrorEvent *event, QmpBlockIoErrorEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_block_io_error_event_disconnect(QmpBlockIoErrorEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_block_io_error_occurrence_free(). NULL
 * and `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpBlockIoErrorOccurrence *libqmp_block_io_error_event_recv(QmpBlockIoErrorEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_io_error_event_recv() returned; NULL is nothing to free. */
void libqmp_block_io_error_occurrence_free(QmpBlockIoErrorOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * A write, a write of zeroes or a discard that is about to be carried out ends past the mark that
 * block-set-write-threshold set.  That takes the mark away: the event comes once for each time it
 * is set.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_write_threshold_event() to
 * libqmp_block_write_threshold_event_free() occurrences come.
 */
typedef struct QmpBlockWriteThresholdEvent QmpBlockWriteThresholdEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_write_threshold_event_connect() was called with.
 */
typedef void (*QmpBlockWriteThresholdEventHandler)(const QmpBlockWriteThresholdOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_WRITE_THRESHOLD. The caller owns the object and frees it with
 * libqmp_block_write_threshold_event_free(). NULL and `*error` where that fails.
 */
QmpBlockWriteThresholdEvent *libqmp_get_block_write_threshold_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_write_threshold_event(), with arguments.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpBlockWriteThresholdEvent *libqmp_get_block_write_threshold_event_with(QmpSession *session, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_write_threshold_event_disconnect(). 0
 * where `event` or `handler` is NULL.
 */
uint64_t libqmp_block_write_threshold_event_connect(QmpBlockWriteThresholdEvent *event, QmpBlockWriteThresholdEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_block_write_threshold_event_disconnect(QmpBlockWriteThresholdEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with
 * libqmp_block_write_threshold_occurrence_free(). NULL and `*error` where there is none, of kind
 * QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpBlockWriteThresholdOccurrence *libqmp_block_write_threshold_event_recv(QmpBlockWriteThresholdEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_write_threshold_event_recv() returned; NULL is nothing to free. */
void libqmp_block_write_threshold_occurrence_free(QmpBlockWriteThresholdOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * Something in an image's own tables cannot be.  What is not noticed: an entry that leads to
 * another cluster of data than it should, and a refcount that is wrong, unless it is that of a
 * table.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_image_corrupted_event() to
 * libqmp_block_image_corrupted_event_free() occurrences come.
 */
typedef struct QmpBlockImageCorruptedEvent QmpBlockImageCorruptedEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_image_corrupted_event_connect() was called with.
 */
typedef void (*QmpBlockImageCorruptedEventHandler)(const QmpBlockImageCorruptedOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_IMAGE_CORRUPTED. The caller owns the object and frees it with
 * libqmp_block_image_corrupted_event_free(). NULL and `*error` where that fails.
 */
QmpBlockImageCorruptedEvent *libqmp_get_block_image_corrupted_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_image_corrupted_event(), with arguments.
 *
 * `device`: the only device to hear of, or NULL for every one.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpBlockImageCorruptedEvent *libqmp_get_block_image_corrupted_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_image_corrupted_event_disconnect(). 0
 * where `event` or `handler` is NULL.
 */
uint64_t libqmp_block_image_corrupted_event_connect(QmpBlockImageCorruptedEvent *event, QmpBlockImageCorruptedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_block_image_corrupted_event_disconnect(QmpBlockImageCorruptedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with
 * libqmp_block_image_corrupted_occurrence_free(). NULL and `*error` where there is none, of kind
 * QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpBlockImageCorruptedOccurrence *libqmp_block_image_corrupted_event_recv(QmpBlockImageCorruptedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_image_corrupted_event_recv() returned; NULL is nothing to free. */
void libqmp_block_image_corrupted_occurrence_free(QmpBlockImageCorruptedOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_fault_injected_event_connect() was called with.
 */
typedef void (*QmpBlockFaultInjectedEventHandler)(const QmpBlockFaultInjectedOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_FAULT_INJECTED. The caller owns the object and frees it with
 * libqmp_block_fault_injected_event_free(). NULL and `*error` where that fails.
 */
QmpBlockFaultInjectedEvent *libqmp_get_block_fault_injected_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_fault_injected_event(), with arguments.
 *
 * `device`: the only device to hear of, or NULL for every one.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpBlockFaultInjectedEvent *libqmp_get_block_fault_injected_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_fault_injected_event_disconnect(). 0
 * where `event` or `handler` is NULL.
 */
uint64_t libqmp_block_fault_injected_event_connect(QmpBlockFaultInjectedEvent *event, QmpBlockFaultInjectedEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_block_fault_injected_event_disconnect(QmpBlockFaultInjectedEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with
 * libqmp_block_fault_injected_occurrence_free(). NULL and `*error` where there is none, of kind
 * QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpBlockFaultInjectedOccurrence *libqmp_block_fault_injected_event_recv(QmpBlockFaultInjectedEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_fault_injected_event_recv() returned; NULL is nothing to free. */
void libqmp_block_fault_injected_occurrence_free(QmpBlockFaultInjectedOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
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
 * A disk has lost its power, and has it again.
 *
 * Since 0.1.
 *
 * The object is the connection to the event: from libqmp_get_block_power_cut_event() to
 * libqmp_block_power_cut_event_free() occurrences come.
 */
typedef struct QmpBlockPowerCutEvent QmpBlockPowerCutEvent;

/**
 * Is called by libqmp_session_dispatch() for each occurrence.
 *
 * `occurrence` is the library's and valid until the handler returns; `opaque` is what
 * libqmp_block_power_cut_event_connect() was called with.
 */
typedef void (*QmpBlockPowerCutEventHandler)(const QmpBlockPowerCutOccurrence *occurrence, void *opaque);

/**
 * Connects to BLOCK_POWER_CUT. The caller owns the object and frees it with
 * libqmp_block_power_cut_event_free(). NULL and `*error` where that fails.
 */
QmpBlockPowerCutEvent *libqmp_get_block_power_cut_event(QmpSession *session, QmpError **error);

/**
 * As libqmp_get_block_power_cut_event(), with arguments.
 *
 * `device`: the only device to hear of, or NULL for every one.
 *
 * `initial`: whether the present state, where there is one, comes first as an occurrence of its
 * own.
 */
QmpBlockPowerCutEvent *libqmp_get_block_power_cut_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);

/**
 * Adds a handler, and returns its number for libqmp_block_power_cut_event_disconnect(). 0 where
 * `event` or `handler` is NULL.
 */
uint64_t libqmp_block_power_cut_event_connect(QmpBlockPowerCutEvent *event, QmpBlockPowerCutEventHandler handler, void *opaque);

/** Removes a handler, which does not run afterwards. False where there is none of that number. */
bool libqmp_block_power_cut_event_disconnect(QmpBlockPowerCutEvent *event, uint64_t handler);

/**
 * Waits for the next occurrence for so many milliseconds: 0 takes only what is there already, a
 * negative number waits for ever. While the object has handlers, occurrences are theirs and nobody
 * else's.
 *
 * The caller owns what is returned, and frees it with libqmp_block_power_cut_occurrence_free().
 * NULL and `*error` where there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the time is over.
 */
QmpBlockPowerCutOccurrence *libqmp_block_power_cut_event_recv(QmpBlockPowerCutEvent *event, int64_t timeout_ms, QmpError **error);

/** Frees what libqmp_block_power_cut_event_recv() returned; NULL is nothing to free. */
void libqmp_block_power_cut_occurrence_free(QmpBlockPowerCutOccurrence *occurrence);

/**
 * Disconnects and frees the object; NULL is nothing to free. No handler of it runs afterwards: one
 * that runs in another thread is waited for. A handler may free the object that it was called for.
 */
void libqmp_block_power_cut_event_free(QmpBlockPowerCutEvent *event);

/* -----------------------------------------------------------------------------
 * Commands
 * ----------------------------------------------------------------------------- */

/**
 * Ends the negotiation that a session starts with.  Until it has succeeded, only it and
 * libqmp_disable_default_events() can be executed; afterwards, everything but those two.
 *
 * Errors:
 * - If a capability is not offered, GenericError
 * - If the negotiation is over already, CommandNotFound
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_qmp_capabilities(QmpSession *session, const QmpQmpCapabilitiesArguments *arguments, QmpError **error);

/**
 * Says what the greeting said of versions.
 *
 * Returns: the versions
 *
 * The caller owns what is returned, and frees it with libqmp_version_info_free(). NULL and `*error`
 * where it fails.
 *
 * Since 0.1.
 */
QmpVersionInfo *libqmp_query_version(QmpSession *session, QmpError **error);

/**
 * Frees a QmpVersionInfo that a function of this library returned, with all that it points to; NULL
 * is nothing to free.
 */
void libqmp_version_info_free(QmpVersionInfo *value);

/**
 * Lists every command, the accessors of signals among them.
 *
 * Returns: the commands, sorted by name
 *
 * The caller owns what is returned, and frees it with libqmp_command_info_list_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpCommandInfoList *libqmp_query_commands(QmpSession *session, QmpError **error);

/**
 * Frees a QmpCommandInfoList that a function of this library returned, with all that it points to;
 * NULL is nothing to free.
 */
void libqmp_command_info_list_free(QmpCommandInfoList *value);

/**
 * Leaves the session without the events that would arrive unasked and without a tag.  It can be
 * executed until the negotiation has ended.
 *
 * Errors:
 * - If the negotiation is over already, CommandNotFound
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_disable_default_events(QmpSession *session, QmpError **error);

/**
 * Gives a connection handle back.  No event with this tag arrives after the answer, and the handle
 * is never used again.
 *
 * Errors:
 * - If this session does not hold the handle, InvalidParameterValue
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_put_event(QmpSession *session, const QmpPutEventArguments *arguments, QmpError **error);

/**
 * Connects the session to a signal under a name that the client chooses.  The signal's events
 * arrive with that name as their id.  The answer is followed at once by an event for the state that
 * things are in, where there is one, marked "initial": true.
 *
 * Errors:
 * - If there is no such event, GenericError
 * - If the session uses the id already, GenericError
 * - If there is no such device, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_listen_event(QmpSession *session, const QmpListenEventArguments *arguments, QmpError **error);

/**
 * Ends a connection that has a name.  No event with this id arrives after the answer, until the
 * name is used again.
 *
 * Errors:
 * - If this session does not use the id, GenericError
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_unlisten_event(QmpSession *session, const QmpUnlistenEventArguments *arguments, QmpError **error);

/**
 * Connects the session to the signal of an object.  In QMP it needs the capability "class-hints",
 * with which commands say of the objects that they return which ones they are: by a member
 * "__jsonclass__" for the class and, where a class has several objects, a member "id".  What
 * arrives on such a connection is no event but a signal, with the members "signal", "connection",
 * "arguments" (an event's data) and "timestamp".  In JSON-RPC it is a notification as any other.
 *
 * The classes and their signals follow from the events: an event with a member "device" is a signal
 * of the class BlockDevice, whose id is the device, and called like the event without "BLOCK_";
 * every other event is a signal of the class Machine, of which there is one object, without an id.
 * Signals are written in lower case with dashes.
 *
 * Returns: the connection, as { "__jsonclass__": "Connection", "id": 33 }
 *
 * Errors:
 * - If the capability is not on, CommandNotFound
 * - If the object is none of this kind, or has no such signal, GenericError
 * - If there is no such device, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * The caller owns the text, JSON, and frees it with libqmp_string_free(). NULL and `*error` where
 * it fails.
 *
 * Since 0.1.
 */
char *libqmp_connect(QmpSession *session, const QmpConnectArguments *arguments, QmpError **error);

/**
 * Ends a connection that libqmp_connect() made.  Nothing arrives on it after the answer.
 *
 * Returns: null
 *
 * Errors:
 * - If the capability is not on, CommandNotFound
 * - If it is no connection of this session, InvalidParameterValue
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_disconnect(QmpSession *session, const QmpDisconnectArguments *arguments, QmpError **error);

/**
 * Describes every command and every event, accessors included, and every type that they use.
 *
 * A client looks up the command or the event that it knows by name, and follows the names of types
 * from there.  Names of types that the schema defines are not given away: numbers stand for them,
 * which may be others in the next version.
 *
 * Returns: a description of each, in no order that a client could rely on; no two have the same
 * name
 *
 * The caller owns what is returned, and frees it with libqmp_schema_info_list_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpSchemaInfoList *libqmp_query_qmp_schema(QmpSession *session, QmpError **error);

/**
 * Frees a QmpSchemaInfoList that a function of this library returned, with all that it points to;
 * NULL is nothing to free.
 */
void libqmp_schema_info_list_free(QmpSchemaInfoList *value);

/**
 * Says whether the machine runs, and if not, why.
 *
 * Returns: the status
 *
 * The caller owns what is returned, and frees it with libqmp_status_info_free(). NULL and `*error`
 * where it fails.
 *
 * Since 0.1.
 */
QmpStatusInfo *libqmp_query_status(QmpSession *session, QmpError **error);

/**
 * Frees a QmpStatusInfo that a function of this library returned, with all that it points to; NULL
 * is nothing to free.
 */
void libqmp_status_info_free(QmpStatusInfo *value);

/**
 * Changes what the machine does at the ends of its guest's life, as the option **--action** does.
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_set_action(QmpSession *session, const QmpSetActionArguments *arguments, QmpError **error);

/**
 * Resets the machine, as its reset button would.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_system_reset(QmpSession *session, QmpError **error);

/**
 * Presses the machine's power button.  A guest that listens to it shuts down in its own time, or
 * does not.
 *
 * Errors:
 * - GenericError if the machine has no power button (**--no-acpi**)
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_system_powerdown(QmpSession *session, QmpError **error);

/**
 * Lists the virtual processors, without interrupting them.  A reset gives them new threads.
 *
 * Returns: the processors, by number
 *
 * The caller owns what is returned, and frees it with libqmp_cpu_info_fast_list_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpCpuInfoFastList *libqmp_query_cpus_fast(QmpSession *session, QmpError **error);

/**
 * Frees a QmpCpuInfoFastList that a function of this library returned, with all that it points to;
 * NULL is nothing to free.
 */
void libqmp_cpu_info_fast_list_free(QmpCpuInfoFastList *value);

/**
 * Says how much memory the guest has.
 *
 * Returns: its memory, in bytes
 *
 * The caller owns what is returned, and frees it with libqmp_memory_info_free(). NULL and `*error`
 * where it fails.
 *
 * Since 0.1.
 */
QmpMemoryInfo *libqmp_query_memory_size_summary(QmpSession *session, QmpError **error);

/**
 * Frees a QmpMemoryInfo that a function of this library returned, with all that it points to; NULL
 * is nothing to free.
 */
void libqmp_memory_info_free(QmpMemoryInfo *value);

/**
 * Lists the threads that serve the disks: each disk has one.
 *
 * Returns: the threads, in the order of the disks
 *
 * The caller owns what is returned, and frees it with libqmp_io_thread_info_list_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpIOThreadInfoList *libqmp_query_iothreads(QmpSession *session, QmpError **error);

/**
 * Frees a QmpIOThreadInfoList that a function of this library returned, with all that it points to;
 * NULL is nothing to free.
 */
void libqmp_io_thread_info_list_free(QmpIOThreadInfoList *value);

/**
 * Says whether the machine runs on KVM.  Here it always does.
 *
 * Returns: what there is of KVM
 *
 * The caller owns what is returned, and frees it with libqmp_kvm_info_free(). NULL and `*error`
 * where it fails.
 *
 * Since 0.1.
 */
QmpKvmInfo *libqmp_query_kvm(QmpSession *session, QmpError **error);

/**
 * Frees a QmpKvmInfo that a function of this library returned, with all that it points to; NULL is
 * nothing to free.
 */
void libqmp_kvm_info_free(QmpKvmInfo *value);

/**
 * Says what the machine is called.
 *
 * Returns: its name
 *
 * The caller owns what is returned, and frees it with libqmp_name_info_free(). NULL and `*error`
 * where it fails.
 *
 * Since 0.1.
 */
QmpNameInfo *libqmp_query_name(QmpSession *session, QmpError **error);

/**
 * Frees a QmpNameInfo that a function of this library returned, with all that it points to; NULL is
 * nothing to free.
 */
void libqmp_name_info_free(QmpNameInfo *value);

/**
 * Stops the machine.  A machine that has stopped already stays so, and that is no error.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_stop(QmpSession *session, QmpError **error);

/**
 * Lets the machine run.  Requests that a disk's error policy held back are submitted again, in
 * their order; one that fails again stops the machine again.
 *
 * Errors:
 * - If the machine is in a state that it cannot go on from, GenericError
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_cont(QmpSession *session, QmpError **error);

/**
 * Ends the program.  The answer is sent first.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_quit(QmpSession *session, QmpError **error);

/**
 * Lists the disks.
 *
 * Returns: the disks, in the order they were given
 *
 * The caller owns what is returned, and frees it with libqmp_block_info_list_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpBlockInfoList *libqmp_query_block(QmpSession *session, QmpError **error);

/**
 * Frees a QmpBlockInfoList that a function of this library returned, with all that it points to;
 * NULL is nothing to free.
 */
void libqmp_block_info_list_free(QmpBlockInfoList *value);

/**
 * Says what the disks have done.  The numbers survive a reset of the machine.
 *
 * Returns: the statistics of each, in the order the disks were given
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * The caller owns what is returned, and frees it with libqmp_block_stats_list_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpBlockStatsList *libqmp_query_blockstats(QmpSession *session, const QmpQueryBlockstatsArguments *arguments, QmpError **error);

/**
 * Frees a QmpBlockStatsList that a function of this library returned, with all that it points to;
 * NULL is nothing to free.
 */
void libqmp_block_stats_list_free(QmpBlockStatsList *value);

/**
 * Lists the nodes: what the disks have their data on.
 *
 * Returns: the nodes, in the order the disks were given
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * The caller owns what is returned, and frees it with libqmp_block_device_info_list_free(). NULL
 * and `*error` where it fails.
 *
 * Since 0.1.
 */
QmpBlockDeviceInfoList *libqmp_query_named_block_nodes(QmpSession *session, const QmpQueryNamedBlockNodesArguments *arguments, QmpError **error);

/**
 * Frees a QmpBlockDeviceInfoList that a function of this library returned, with all that it points
 * to; NULL is nothing to free.
 */
void libqmp_block_device_info_list_free(QmpBlockDeviceInfoList *value);

/**
 * Gives a disk another size.  A running guest is told, and sees it.
 *
 * Requests that are in flight end before; the answer comes when the size has changed.  A longer
 * disk has zeroes at its end.  What lies past the end of a shorter disk is lost, and a request that
 * is held back for it fails when the machine goes on.  The image of a block device is not changed:
 * the disk can be as long as the device, or shorter.
 *
 * Errors:
 * - GenericError if there is no such disk, if it is read-only, or if the host refuses the size
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_block_resize(QmpSession *session, const QmpBlockResizeArguments *arguments, QmpError **error);

/**
 * Changes the limits of a disk, while the guest runs or not.  Requests that wait are looked at
 * again, and what was done before counts no more.  A request that waits for its turn waits on while
 * the machine is stopped.
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_block_set_io_throttle(QmpSession *session, const QmpBlockIOThrottle *arguments, QmpError **error);

/**
 * Sets a mark on a node, in the guest's offsets: the first request that writes past it raises
 * BLOCK_WRITE_THRESHOLD. A disk has one node, which is called as the disk is.
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_block_set_write_threshold(QmpSession *session, const QmpBlockSetWriteThresholdArguments *arguments, QmpError **error);

/**
 * Adds a rule behind those that the disk has.  It holds from the next request on.
 *
 * Returns: the name of the rule and its seed
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * The caller owns what is returned, and frees it with libqmp_block_fault_added_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpBlockFaultAdded *libqmp_block_fault_add(QmpSession *session, const QmpBlockFaultRule *arguments, QmpError **error);

/**
 * Frees a QmpBlockFaultAdded that a function of this library returned, with all that it points to;
 * NULL is nothing to free.
 */
void libqmp_block_fault_added_free(QmpBlockFaultAdded *value);

/**
 * Takes a rule away.  What it has done to requests that are on their way goes on.
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_block_fault_remove(QmpSession *session, const QmpBlockFaultRemoveArguments *arguments, QmpError **error);

/**
 * Takes all rules away and puts the state back to "1".  Requests that hang go on hanging.
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_block_fault_clear(QmpSession *session, const QmpBlockFaultClearArguments *arguments, QmpError **error);

/**
 * The rules of each disk, and what they have done.
 *
 * Returns: a list of disks, in the order of the command line
 *
 * The caller owns what is returned, and frees it with libqmp_block_fault_info_list_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpBlockFaultInfoList *libqmp_query_block_faults(QmpSession *session, QmpError **error);

/**
 * Frees a QmpBlockFaultInfoList that a function of this library returned, with all that it points
 * to; NULL is nothing to free.
 */
void libqmp_block_fault_info_list_free(QmpBlockFaultInfoList *value);

/**
 * Ends the hanging of requests.  While the machine is stopped they wait for it to be continued.
 *
 * Returns: how many requests it was about
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * The caller owns what is returned, and frees it with libqmp_block_fault_released_free(). NULL and
 * `*error` where it fails.
 *
 * Since 0.1.
 */
QmpBlockFaultReleased *libqmp_block_fault_release(QmpSession *session, const QmpBlockFaultReleaseArguments *arguments, QmpError **error);

/**
 * Frees a QmpBlockFaultReleased that a function of this library returned, with all that it points
 * to; NULL is nothing to free.
 */
void libqmp_block_fault_released_free(QmpBlockFaultReleased *value);

/**
 * Puts the rules of a disk into a state.
 *
 * Errors:
 * - If there is no such disk, DeviceNotFound
 *
 * `arguments` must not be NULL.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_block_fault_set_state(QmpSession *session, const QmpBlockFaultSetStateArguments *arguments, QmpError **error);

/**
 * Takes the machine's power away.  Every disk loses what it had in a volatile cache, as `survive`
 * says, and raises BLOCK_POWER_CUT.  Requests that were on their way are done or lost, as the seed
 * says, and not answered.  The answer comes when that is done, after RESET, STOP or SHUTDOWN, as
 * `then` says.
 *
 * `arguments` may be NULL, which leaves every one of them out.
 *
 * True if it was done; false and `*error` if it was not.
 *
 * Since 0.1.
 */
bool libqmp_block_power_cut(QmpSession *session, const QmpBlockPowerCutArguments *arguments, QmpError **error);

#ifdef __cplusplus
}
#endif

#endif /* LIBQMP_H */
