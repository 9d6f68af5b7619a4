/* Shared by the C tests: checks that report where they failed, and owners that free what a test leaves.
 *
 * A tolerant test ends early and passes if the network or the server fails; a wrong answer, a crash or a leak fails it in
 * any case. */
#ifndef CHECK_H
#define CHECK_H

#include "boneyard.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tolerant;
static atomic_ulong checks, troubles;

static inline const char *words(void) {
    static _Thread_local char text[512];
    boneyard_last_error(NULL, text, sizeof text);
    return text;
}

#define FAIL(...)                                            \
    do {                                                     \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);      \
        fprintf(stderr, __VA_ARGS__);                        \
        fprintf(stderr, " (%s)\n", words());                 \
        _Exit(1);                                            \
    } while (0)

#define CHECK(condition)                            \
    do {                                            \
        atomic_fetch_add(&checks, 1);               \
        if (!(condition)) FAIL("not %s", #condition); \
    } while (0)

/* The function fails so, whatever the network does. */
#define FAILS(expected, call)                                                             \
    do {                                                                                  \
        atomic_fetch_add(&checks, 1);                                                     \
        boneyard_status status_ = (call);                                                 \
        if (status_ != (expected))                                                        \
            FAIL("%s gives %s, not %s", #call, boneyard_status_name(status_), #expected); \
    } while (0)

/* Is it the surroundings' fault? */
static inline int is_trouble(boneyard_status status) {
    boneyard_error told;
    if (!tolerant || status == BONEYARD_OK) return 0;
    boneyard_last_error(&told, NULL, 0);
    if (told.status != status) return 0;
    /* A server that was killed has forgotten its sessions; one that stops cancels what it cannot do. */
    int ours = status == BONEYARD_UNKNOWN_SESSION;
    if (!ours && told.blame != BONEYARD_BLAME_ENVIRONMENT && told.blame != BONEYARD_BLAME_OVERLOAD) return 0;
    atomic_fetch_add(&troubles, 1);
    return 1;
}

/* The function gives this, or the test ends because of the surroundings. */
#define GIVES(expected, call)                                                             \
    do {                                                                                  \
        atomic_fetch_add(&checks, 1);                                                     \
        boneyard_status status_ = (call);                                                 \
        if (status_ != (expected)) {                                                      \
            if (is_trouble(status_)) return;                                              \
            FAIL("%s gives %s, not %s", #call, boneyard_status_name(status_), #expected); \
        }                                                                                 \
    } while (0)

static inline void drop_client(boneyard_client *client) { boneyard_client_free(*client); }
static inline void drop_session(boneyard_session *session) { boneyard_session_free(*session); }
static inline void drop_pending(boneyard_pending *pending) { boneyard_pending_free(*pending); }
static inline void drop_bytes(boneyard_bytes *bytes) { boneyard_bytes_free(bytes); }

/* Freed at the end of their block; freed already is as well. */
#define OWNED(kind) __attribute__((cleanup(drop_##kind))) boneyard_##kind

#endif
