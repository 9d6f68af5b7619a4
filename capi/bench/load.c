/* Presses a server through the C library: load ADDRESS CONNECTIONS OUT echo|sleep SIZE WARM_UP SECONDS. Prints its counts
 * as JSON, under the names of `boneyard bench --json`.
 *
 * Each connection has a thread and a client of its own, which keeps OUT calls out and waits for the oldest; with one out
 * it calls and blocks. SIZE is bytes of a load.echo, or milliseconds of a load.sleep; times are in seconds. Calls that
 * end after the warm-up and within SECONDS are counted. The style `pipelined` of benches/client_load.rs is the same in
 * Rust. */
#define _POSIX_C_SOURCE 200809L
#include "boneyard.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *method;
static uint8_t *arguments;
static size_t length, result_length;
static int out;
/* The counted time, in nanoseconds of the monotonic clock. */
static uint64_t begin, end;

typedef struct lane {
    pthread_t thread;
    boneyard_client client;
    /* Nanoseconds of each counted call. */
    uint32_t *latencies;
    size_t count, room;
} lane;

typedef struct call {
    boneyard_pending pending;
    uint64_t start;
} call;

static void must(boneyard_status status) {
    char text[256];
    if (status == BONEYARD_OK) return;
    boneyard_last_error(NULL, text, sizeof text);
    fprintf(stderr, "%s: %s\n", boneyard_status_name(status), text);
    exit(1);
}

static void *allocated(void *memory) {
    if (memory != NULL) return memory;
    fputs("no memory\n", stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A call has ended. Returns 0 when the time is over. */
static int counted(lane *lane, boneyard_bytes *result, uint64_t start) {
    uint64_t now = now_ns(), ns = now - start;
    if (result->length != result_length) {
        fputs("the answer is not what was sent\n", stderr);
        exit(1);
    }
    boneyard_bytes_free(result);
    if (now >= end) return 0;
    if (now < begin) return 1;
    if (lane->count == lane->room) {
        lane->room = lane->room ? 2 * lane->room : 1024;
        lane->latencies = allocated(realloc(lane->latencies, lane->room * sizeof *lane->latencies));
    }
    lane->latencies[lane->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
    return 1;
}

static void started(boneyard_client client, call *call) {
    call->start = now_ns();
    must(boneyard_start(client, method, BONEYARD_BINCODE, arguments, length, BONEYARD_CLIENT_DEADLINE, &call->pending));
}

static void pipeline(lane *lane) {
    call *calls = allocated(calloc((size_t)out, sizeof *calls));
    int going = 1;
    for (int n = 0; n < out; n++) started(lane->client, &calls[n]);
    for (int at = 0; going; at = (at + 1) % out) {
        boneyard_bytes result;
        must(boneyard_wait(calls[at].pending, BONEYARD_FOREVER, &result, NULL));
        calls[at].pending = 0;
        going = counted(lane, &result, calls[at].start);
        if (going) started(lane->client, &calls[at]);
    }
    for (int n = 0; n < out; n++) boneyard_pending_free(calls[n].pending);
    free(calls);
}

static void *run(void *argument) {
    lane *lane = argument;
    if (out > 1) {
        pipeline(lane);
        return NULL;
    }
    for (int going = 1; going;) {
        boneyard_bytes result;
        uint64_t start = now_ns();
        must(boneyard_call(lane->client, method, BONEYARD_BINCODE, arguments, length, BONEYARD_CLIENT_DEADLINE, &result,
                           NULL));
        going = counted(lane, &result, start);
    }
    return NULL;
}

/* Arguments in bincode: eight bytes of a number, little end first, and so many bytes. */
static void prepare(int echo, uint64_t size) {
    method = echo ? "load.echo" : "load.sleep";
    length = 8 + (echo ? size : 0);
    result_length = echo ? length : 0;
    arguments = allocated(malloc(length));
    memset(arguments, 'x', length);
    for (int at = 0; at < 8; at++) arguments[at] = (uint8_t)(size >> 8 * at);
}

/* Connects, which the first call does. */
static boneyard_client connected(const char *address) {
    boneyard_client client;
    boneyard_bytes none;
    must(boneyard_connect(&address, 1, NULL, &client));
    must(boneyard_call(client, "server.ping", BONEYARD_BINCODE, NULL, 0, BONEYARD_CLIENT_DEADLINE, &none, NULL));
    boneyard_bytes_free(&none);
    return client;
}

static int ascending(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Microseconds of the call at this place in the sorted row. */
static double at(const uint32_t *sorted, size_t count, double part) {
    size_t place = (size_t)((double)count * part);
    return count ? sorted[place < count ? place : count - 1] / 1000.0 : 0;
}

static void report(const lane *lanes, int connections, double seconds) {
    size_t total = 0;
    for (int n = 0; n < connections; n++) total += lanes[n].count;
    uint32_t *all = allocated(malloc((total + 1) * sizeof *all)), *next = all;
    for (int n = 0; n < connections; n++) {
        if (lanes[n].count) memcpy(next, lanes[n].latencies, lanes[n].count * sizeof *next);
        next += lanes[n].count;
    }
    qsort(all, total, sizeof *all, ascending);
    printf("{\"ok\": %zu, \"errors\": {}, \"calls_per_second\": %.1f, ", total, (double)total / seconds);
    printf("\"latency\": {\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}}\n", at(all, total, 0.5),
           at(all, total, 0.99), at(all, total, 1));
    free(all);
}

int main(int count, char **words) {
    if (count != 8) return 2;
    int connections = atoi(words[2]);
    double warm_up = atof(words[6]), seconds = atof(words[7]);
    out = atoi(words[3]);
    if (out < 1 || connections < 1) return 2;
    prepare(strcmp(words[4], "echo") == 0, strtoull(words[5], NULL, 10));
    lane *lanes = allocated(calloc((size_t)connections, sizeof *lanes));
    for (int n = 0; n < connections; n++) lanes[n].client = connected(words[1]);
    begin = now_ns() + (uint64_t)(warm_up * 1e9);
    end = begin + (uint64_t)(seconds * 1e9);
    for (int n = 0; n < connections; n++)
        if (pthread_create(&lanes[n].thread, NULL, run, &lanes[n])) return 1;
    for (int n = 0; n < connections; n++) pthread_join(lanes[n].thread, NULL);
    for (int n = 0; n < connections; n++) boneyard_client_free(lanes[n].client);
    report(lanes, connections, seconds);
    for (int n = 0; n < connections; n++) free(lanes[n].latencies);
    free(lanes);
    free(arguments);
    return 0;
}
