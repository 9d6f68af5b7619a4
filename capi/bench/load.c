/* Presses a server through the C library: load ADDRESS CONNECTIONS OUT SECONDS. Prints the calls answered a second.
 *
 * Each connection has a thread and a client of its own, which keeps so many calls of load.echo out, 64 bytes each, and waits
 * for the oldest. benches/client_load.rs is the same in Rust. */
#define _POSIX_C_SOURCE 200809L
#include "boneyard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAYLOAD = 64, OUT_MAX = 4096, CONNECTIONS_MAX = 256 };

static const char *address;
static int out;
static atomic_int over;

static void must(boneyard_status status) {
    char text[256];
    if (status == BONEYARD_OK) return;
    boneyard_last_error(NULL, text, sizeof text);
    fprintf(stderr, "%s: %s\n", boneyard_status_name(status), text);
    exit(1);
}

static void *lane(void *answered) {
    boneyard_client client;
    boneyard_pending pending[OUT_MAX];
    /* A count of 64 and so many bytes. */
    uint8_t arguments[8 + PAYLOAD] = {PAYLOAD};
    must(boneyard_connect(&address, 1, NULL, &client));
    unsigned long count = 0;
    for (int n = 0; n < out; n++)
        must(boneyard_start(client, "load.echo", BONEYARD_BINCODE, arguments, sizeof arguments, BONEYARD_FOREVER,
                            &pending[n]));
    for (int at = 0; !atomic_load_explicit(&over, memory_order_relaxed); at = (at + 1) % out, count++) {
        boneyard_bytes result;
        must(boneyard_wait(pending[at], BONEYARD_FOREVER, &result, NULL));
        if (result.length != sizeof arguments) exit(1);
        boneyard_bytes_free(&result);
        must(boneyard_start(client, "load.echo", BONEYARD_BINCODE, arguments, sizeof arguments, BONEYARD_FOREVER,
                            &pending[at]));
    }
    for (int n = 0; n < out; n++) boneyard_pending_free(pending[n]);
    boneyard_client_free(client);
    *(unsigned long *)answered = count;
    return NULL;
}

int main(int count, char **words) {
    if (count != 5) return 2;
    int connections = atoi(words[2]);
    double seconds = atof(words[4]);
    address = words[1];
    out = atoi(words[3]);
    if (out < 1 || out > OUT_MAX || connections < 1 || connections > CONNECTIONS_MAX) return 2;
    pthread_t threads[CONNECTIONS_MAX];
    unsigned long answered[CONNECTIONS_MAX] = {0}, total = 0;
    for (int n = 0; n < connections; n++) pthread_create(&threads[n], NULL, lane, &answered[n]);
    nanosleep(&(struct timespec){(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)}, NULL);
    atomic_store(&over, 1);
    for (int n = 0; n < connections; n++) pthread_join(threads[n], NULL);
    for (int n = 0; n < connections; n++) total += answered[n];
    printf("{\"calls_per_second\": %.1f}\n", (double)total / seconds);
    return 0;
}
