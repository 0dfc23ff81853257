/* Checks of the test programs: the first that fails ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libqmp.h"

/** Ends the program unless a condition holds. */
#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/** Ends the program with the error of a failed call. */
#define CHECK_OK(done, error)                                                                              \
    do {                                                                                                   \
        if (!(done)) {                                                                                     \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #done, libqmp_error_message(error)); \
            exit(1);                                                                                       \
        }                                                                                                  \
        CHECK((error) == NULL);                                                                            \
    } while (0)

/** Ends the program unless a call failed with this error; frees the error. */
#define CHECK_FAILED(done, error, expected_kind, expected_part)                                               \
    do {                                                                                                      \
        CHECK(!(done));                                                                                       \
        CHECK((error) != NULL);                                                                               \
        if (libqmp_error_kind(error) != (expected_kind) ||                                                    \
            strstr(libqmp_error_message(error), (expected_part)) == NULL) {                                   \
            fprintf(stderr, "%s:%d: kind %d: %s\n", __FILE__, __LINE__, (int)libqmp_error_kind(error), \
                    libqmp_error_message(error));                                                             \
            exit(1);                                                                                          \
        }                                                                                                     \
        libqmp_error_free(error);                                                                             \
        (error) = NULL;                                                                                       \
    } while (0)

#define SAME(a, b) (strcmp((a), (b)) == 0)

#endif /* CHECK_H */
