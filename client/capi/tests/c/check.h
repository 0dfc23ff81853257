/* What the test programs check with: the first thing that is not as it should be ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libqmp.h"

/** Ends the program where something is not so. */
#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/** Ends the program where a call failed, and says why. */
#define CHECK_OK(done, error)                                                                              \
    do {                                                                                                   \
        if (!(done)) {                                                                                     \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #done, libqmp_error_message(error)); \
            exit(1);                                                                                       \
        }                                                                                                  \
        CHECK((error) == NULL);                                                                            \
    } while (0)

/** Ends the program where a call did not fail so; frees its error. */
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
