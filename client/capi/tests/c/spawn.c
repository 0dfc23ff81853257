/*
 * A program that serves a session of its own: it is started with the given arguments and `--qmp fd:N`, and inherits a
 * socket as that descriptor.
 *
 *     spawn FILE
 *
 * The program writes its arguments to FILE, something other than a greeting to the socket, and ends.
 */
#include "check.h"

static const char SCRIPT[] =
    "file=$1; shift; printf '%s\\n' \"$@\" > \"$file\"; eval \"printf 'I am a shell\\\\r\\\\n' >&${4#fd:}\"";

int main(int argc, char **argv)
{
    QmpError *error;
    char *arguments[] = { "sh", "-c", (char *)SCRIPT, "sh", NULL, "a b", "\xff", NULL };

    CHECK(argc == 2);
    arguments[4] = argv[1];
    CHECK_FAILED(libqmp_session_new_spawn(arguments, NULL, &error), error, QMP_ERROR_KIND_NOT_QMP, "I am a shell");
    return 0;
}
