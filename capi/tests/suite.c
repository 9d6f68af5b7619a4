/* The C library against a running server: suite ADDRESS [tolerant]. C11; one test a function, all of them in main.
 *
 * The server has Load_Service=1 and two workers, so that calls can be made to wait. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JSON BONEYARD_JSON
#define OWN BONEYARD_CLIENT_DEADLINE
enum { THREADS = 4, CALLS = 50, WORKERS = 2 };

static const char *address;

static boneyard_client connected(void) {
    boneyard_client client;
    FAILS(BONEYARD_OK, boneyard_connect(&address, 1, NULL, &client));
    return client;
}

/* A call in JSON. */
static boneyard_status json(boneyard_client client, const char *method, const char *text, boneyard_bytes *result) {
    return boneyard_call(client, method, JSON, (const uint8_t *)text, strlen(text), OWN, result, NULL);
}

static boneyard_status start(boneyard_client client, const char *method, const char *text, boneyard_pending *pending) {
    return boneyard_start(client, method, JSON, (const uint8_t *)text, strlen(text), OWN, pending);
}

static int same(boneyard_bytes bytes, const char *text) {
    return bytes.length == strlen(text) && strcmp((const char *)bytes.data, text) == 0;
}

static void moment(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void versions_and_names(void) {
    CHECK(boneyard_abi_version() == BONEYARD_ABI_VERSION);
    CHECK(strlen(boneyard_version()) >= 5);
    CHECK(strcmp(boneyard_status_name(BONEYARD_QUEUE_FULL), "BONEYARD_QUEUE_FULL") == 0);
    CHECK(strlen(boneyard_status_text(BONEYARD_QUEUE_FULL)) > 0);
    CHECK(strcmp(boneyard_status_name(-7), "") == 0 && strcmp(boneyard_status_text(12345), "") == 0);
    boneyard_error told;
    CHECK(boneyard_last_error(&told, NULL, 0) == 0 && told.status == BONEYARD_OK);
}

static void wrong_connects(void) {
    OWNED(client) client = 1;
    const char *wrong = "a b", *latin = "\xe4", *none = NULL;
    const char *many[65];
    for (int n = 0; n < 65; n++) many[n] = address;
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&address, 1, NULL, NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(NULL, 1, NULL, &client));
    CHECK(client == 0);
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(many, 0, NULL, &client));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(many, 65, NULL, &client));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(many, SIZE_MAX, NULL, &client));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&none, 1, NULL, &client));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&latin, 1, NULL, &client));
    FAILS(BONEYARD_INVALID_ADDRESS, boneyard_connect(&wrong, 1, NULL, &client));
    _Alignas(8) char space[64] = {0};
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&address, 1, NULL, (boneyard_client *)(void *)(space + 1)));

    boneyard_options options;
    memset(&options, 0xff, sizeof options);
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&address, 1, &options, &client));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_options_init(NULL, sizeof options));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_options_init(&options, 4));
    FAILS(BONEYARD_OK, boneyard_options_init(&options, sizeof options));
    options.throttle = 2;
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&address, 1, &options, &client));
    options.throttle = 0;
    options.wait_for_server = 2;
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&address, 1, &options, &client));
    options.wait_for_server = 1;
    options.keepalive_s = 7201;
    FAILS(BONEYARD_INVALID_OPTION, boneyard_connect(&address, 1, &options, &client));
    options.keepalive_s = 0;
    options.connect_timeout_ms = 0;
    FAILS(BONEYARD_INVALID_OPTION, boneyard_connect(&address, 1, &options, &client));
    options.connect_timeout_ms = 1000;
    options.reply_bytes_max = UINT64_MAX;
    FAILS(BONEYARD_INVALID_OPTION, boneyard_connect(&address, 1, &options, &client));
    options.reply_bytes_max = 100;
    options.name = "suite";
    FAILS(BONEYARD_OK, boneyard_connect(&address, 1, &options, &client));
    char large[200] = "\"";
    memset(large + 1, 'x', 198);
    large[198] = '"';
    OWNED(bytes) result = {0};
    GIVES(BONEYARD_REPLY_TOO_LARGE, json(client, "server.echo", large, &result));
}

/* As a program has them that was compiled with a header of fewer or more fields. */
static void options_of_other_versions(void) {
    OWNED(client) client = 0;
    union {
        boneyard_options options;
        char bytes[4096 + 8];
    } given;
    const size_t known = sizeof given.options;
    const size_t newer[] = {known + 8, known + 64, 4096};
    for (int n = 0; n < 3; n++) {
        memset(&given, 0xff, sizeof given);
        FAILS(BONEYARD_OK, boneyard_options_init(&given.options, newer[n]));
        CHECK(given.options.size == newer[n] && given.options.deadline_ms == 10000);
        CHECK(given.bytes[newer[n] - 1] == 0 && (unsigned char)given.bytes[newer[n]] == 0xff);
        FAILS(BONEYARD_OK, boneyard_connect(&address, 1, &given.options, &client));
        FAILS(BONEYARD_OK, boneyard_client_free(client));
        given.bytes[newer[n] - 1] = 1;
        FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&address, 1, &given.options, &client));
        CHECK(client == 0 && strstr(words(), "options set byte") != NULL);
    }
    const size_t none[] = {0, offsetof(boneyard_options, name), known - 1, known + 1, 4096 + 8, SIZE_MAX};
    for (int n = 0; n < 6; n++) {
        FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_options_init(&given.options, none[n]));
        FAILS(BONEYARD_OK, boneyard_options_init(&given.options, known));
        given.options.size = none[n];
        FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_connect(&address, 1, &given.options, &client));
    }
}

static void times_without_end(void) {
    const uint64_t longest = BONEYARD_FOREVER - 2;
    boneyard_options options;
    FAILS(BONEYARD_OK, boneyard_options_init(&options, sizeof options));
    options.deadline_ms = options.connect_timeout_ms = options.hedge_after_ms = longest;
    options.retries = UINT32_MAX;
    OWNED(client) client = 0;
    OWNED(pending) pending = 0;
    OWNED(bytes) result = {0};
    OWNED(bytes) waited = {0};
    FAILS(BONEYARD_OK, boneyard_connect(&address, 1, &options, &client));
    uint32_t twice = BONEYARD_JSON | BONEYARD_IDEMPOTENT;
    GIVES(BONEYARD_OK, boneyard_call(client, "server.echo", twice, (const uint8_t *)"1", 1, longest, &result, NULL));
    GIVES(BONEYARD_OK, start(client, "server.echo", "1", &pending));
    GIVES(BONEYARD_OK, boneyard_wait(pending, longest, &waited, NULL));
}

static void calls(void) {
    OWNED(client) client = connected();
    OWNED(bytes) text = {0};
    OWNED(bytes) raw = {0};
    OWNED(bytes) nothing = {0};
    boneyard_times times = {9, 9, UINT64_MAX};
    GIVES(BONEYARD_OK, json(client, "server.echo", "{\"a\": [1, 2]}", &text));
    CHECK(same(text, "{\"a\": [1, 2]}"));
    const uint8_t packed[] = {3, 0, 0, 0, 0, 0, 0, 0, 'a', 0, 'b'};
    uint32_t twice = BONEYARD_BINCODE | BONEYARD_IDEMPOTENT;
    GIVES(BONEYARD_OK, boneyard_call(client, "server.echo", twice, packed, sizeof packed, OWN, &raw, &times));
    CHECK(raw.length == sizeof packed && memcmp(raw.data, packed, sizeof packed) == 0);
    CHECK(times.run_us < UINT64_MAX);
    GIVES(BONEYARD_OK, boneyard_call(client, "server.ping", BONEYARD_BINCODE, NULL, 0, 5000, &nothing, NULL));
    CHECK(nothing.length == 0 && nothing.data != NULL && nothing.data[0] == 0);
}

static void refused_calls(void) {
    OWNED(client) client = connected();
    OWNED(bytes) result = {0};
    GIVES(BONEYARD_UNKNOWN_METHOD, json(client, "server.pign", "null", &result));
    CHECK(strstr(words(), "did you mean \"server.ping\"") != NULL);
    CHECK(result.data == NULL && result.length == 0);
    boneyard_error told;
    CHECK(boneyard_last_error(&told, NULL, 0) > 0);
    CHECK(told.status == BONEYARD_UNKNOWN_METHOD && told.blame == BONEYARD_BLAME_CALLER && told.never_started == 1);
    char cut[4] = "xxx";
    CHECK(boneyard_last_error(NULL, cut, sizeof cut) > 3 && strcmp(cut, "the") == 0);
    GIVES(BONEYARD_BAD_REQUEST, json(client, "load.sleep", "\"x\"", &result));
    GIVES(BONEYARD_BAD_REQUEST, json(client, "server.ping", "nonsense", &result));
    size_t size = 5 << 20;
    uint8_t *large = calloc(size, 1);
    boneyard_status status = boneyard_call(client, "server.echo", 0, large, size, OWN, &result, NULL);
    free(large);
    GIVES(BONEYARD_TOO_LARGE, status);
    GIVES(BONEYARD_DEADLINE_EXCEEDED, boneyard_call(client, "server.ping", 0, NULL, 0, 0, &result, NULL));
    const uint8_t *second = (const uint8_t *)"1000";
    GIVES(BONEYARD_DEADLINE_EXCEEDED, boneyard_call(client, "load.sleep", JSON, second, 4, 20, &result, NULL));
}

static void large_results(void) {
    OWNED(client) client = connected();
    OWNED(bytes) result = {0};
    size_t size = 1 << 20;
    uint8_t *large = malloc(size);
    for (size_t n = 0; n < size; n++) large[n] = (uint8_t)(n * 7);
    boneyard_status status = boneyard_call(client, "server.echo", 0, large, size, OWN, &result, NULL);
    int right = status != BONEYARD_OK || (result.length == size && memcmp(result.data, large, size) == 0);
    free(large);
    GIVES(BONEYARD_OK, status);
    CHECK(right && result.data[size] == 0);
}

static void misuse_of_calls(void) {
    OWNED(client) client = connected();
    OWNED(bytes) result = {0};
    boneyard_pending pending = 9;
    char endless[400];
    memset(endless, 'a', sizeof endless);
    endless[sizeof endless - 1] = 0;
    const uint8_t one[1] = {0};
    FAILS(BONEYARD_INVALID_ARGUMENT, json(client, NULL, "1", &result));
    FAILS(BONEYARD_INVALID_ARGUMENT, json(client, endless, "1", &result));
    FAILS(BONEYARD_INVALID_ARGUMENT, json(client, "\xff.x", "1", &result));
    FAILS(BONEYARD_INVALID_ARGUMENT, json(client, "server.ping", "null", NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_call(client, "a.b", 4, one, 1, OWN, &result, NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_call(client, "a.b", 0, NULL, 1, OWN, &result, NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_call(client, "a.b", 0, one, SIZE_MAX, OWN, &result, NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_start(client, NULL, 0, one, 1, OWN, &pending));
    CHECK(pending == 0);
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_start(client, "a.b", 0, one, 1, OWN, NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_wait(client, 0, NULL, NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_session_open(client, NULL));
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_session_ticket(client, NULL));
    boneyard_session session;
    FAILS(BONEYARD_INVALID_ARGUMENT, boneyard_session_attach(client, NULL, &session));
}

static void every_function_knows_a_wrong_handle(boneyard_client wrong) {
    OWNED(bytes) result = {0};
    OWNED(session) session = 0;
    boneyard_pending pending;
    boneyard_ticket ticket = {0};
    FAILS(BONEYARD_INVALID_HANDLE, json(wrong, "server.ping", "null", &result));
    FAILS(BONEYARD_INVALID_HANDLE, start(wrong, "server.ping", "null", &pending));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_wait(wrong, 0, &result, NULL));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_cancel(wrong));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_open(wrong, &session));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_attach(wrong, &ticket, &session));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_ticket(wrong, &ticket));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_detach(wrong));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_close(wrong));
    if (wrong == 0) return;
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_client_free(wrong));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_pending_free(wrong));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_free(wrong));
}

static void wrong_handles(void) {
    boneyard_client freed = connected();
    FAILS(BONEYARD_OK, boneyard_client_free(freed));
    every_function_knows_a_wrong_handle(0);
    every_function_knows_a_wrong_handle(freed);
    uint64_t random = 88172645463325252u;
    for (int n = 0; n < 100; n++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        every_function_knows_a_wrong_handle(random);
    }
    FAILS(BONEYARD_OK, boneyard_client_free(0));
    FAILS(BONEYARD_OK, boneyard_pending_free(0));
    FAILS(BONEYARD_OK, boneyard_session_free(0));
    FAILS(BONEYARD_OK, boneyard_bytes_free(NULL));

    OWNED(client) client = connected();
    OWNED(bytes) result = {0};
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_wait(client, 0, &result, NULL));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_pending_free(client));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_close(client));
    boneyard_bytes forged = {.data = (const uint8_t *)"x", .length = 99, .handle = client};
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_bytes_free(&forged));
    GIVES(BONEYARD_OK, json(client, "server.ping", "null", &result));
    boneyard_bytes copy = result;
    copy.length = SIZE_MAX;
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_client_free(copy.handle));
    FAILS(BONEYARD_OK, boneyard_bytes_free(&copy));
    FAILS(BONEYARD_OK, boneyard_bytes_free(&copy));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_bytes_free(&result));
}

static void pipelining(void) {
    OWNED(client) client = connected();
    OWNED(bytes) greeted = {0};
    GIVES(BONEYARD_OK, json(client, "server.ping", "null", &greeted));
    boneyard_pending out[CALLS];
    char text[16];
    boneyard_status failed = BONEYARD_OK;
    int sent = 0;
    for (; sent < CALLS && failed == BONEYARD_OK; sent++) {
        snprintf(text, sizeof text, "%d", sent);
        failed = start(client, "server.echo", text, &out[sent]);
    }
    CHECK(failed == BONEYARD_OK || is_trouble(failed));
    /* The last first: answers wait for those who ask for them. */
    for (int n = sent; n-- > 0;) {
        boneyard_bytes result = {0};
        boneyard_status status = boneyard_wait(out[n], BONEYARD_FOREVER, &result, NULL);
        snprintf(text, sizeof text, "%d", n);
        CHECK(status == BONEYARD_OK ? same(result, text) : out[n] == 0 || is_trouble(status));
        boneyard_bytes_free(&result);
        FAILS(BONEYARD_INVALID_HANDLE, boneyard_wait(out[n], 0, &result, NULL));
    }
}

static void a_look_and_a_short_wait_leave_the_call(void) {
    OWNED(client) client = connected();
    OWNED(pending) pending = 0;
    OWNED(bytes) result = {0};
    GIVES(BONEYARD_OK, start(client, "load.sleep", "2000", &pending));
    GIVES(BONEYARD_NOT_YET, boneyard_wait(pending, 0, &result, NULL));
    GIVES(BONEYARD_NOT_YET, boneyard_wait(pending, 5, &result, NULL));
    CHECK(result.data == NULL);
    FAILS(BONEYARD_OK, boneyard_pending_free(pending));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_wait(pending, 0, &result, NULL));
}

static void a_call_outlives_its_client(void) {
    boneyard_client client = connected();
    OWNED(pending) pending = 0;
    OWNED(bytes) result = {0};
    boneyard_status status = start(client, "server.echo", "7", &pending);
    FAILS(BONEYARD_OK, boneyard_client_free(client));
    GIVES(BONEYARD_OK, status);
    GIVES(BONEYARD_OK, boneyard_wait(pending, BONEYARD_FOREVER, &result, NULL));
    CHECK(same(result, "7"));
}

static void cancelling(void) {
    OWNED(client) client = connected();
    OWNED(pending) first = 0;
    OWNED(pending) second = 0;
    OWNED(pending) queued = 0;
    OWNED(bytes) result = {0};
    /* As many as there are workers, so that the third waits. */
    GIVES(BONEYARD_OK, start(client, "load.sleep", "500", &first));
    GIVES(BONEYARD_OK, start(client, "load.sleep", "500", &second));
    GIVES(BONEYARD_OK, start(client, "server.echo", "1", &queued));
    FAILS(BONEYARD_OK, boneyard_cancel(queued));
    FAILS(BONEYARD_OK, boneyard_cancel(queued));
    GIVES(BONEYARD_CANCELLED, boneyard_wait(queued, BONEYARD_FOREVER, &result, NULL));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_cancel(queued));
}

struct waiting {
    boneyard_pending pending;
    boneyard_status status;
};

static void *wait_alone(void *given) {
    struct waiting *waiting = given;
    boneyard_bytes result = {0};
    /* The other thread has it for a moment whenever it looks. */
    do {
        waiting->status = boneyard_wait(waiting->pending, BONEYARD_FOREVER, &result, NULL);
    } while (waiting->status == BONEYARD_BUSY);
    boneyard_bytes_free(&result);
    return NULL;
}

static void two_threads_do_not_wait_for_one_call(void) {
    OWNED(client) client = connected();
    struct waiting waiting = {0, BONEYARD_OK};
    GIVES(BONEYARD_OK, start(client, "load.sleep", "1000", &waiting.pending));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_alone, &waiting) == 0);
    boneyard_bytes result = {0};
    boneyard_status status;
    while ((status = boneyard_wait(waiting.pending, 0, &result, NULL)) == BONEYARD_NOT_YET) moment();
    /* In trouble the call may have ended before either asked. */
    CHECK(status == BONEYARD_BUSY || tolerant);
    boneyard_error told;
    boneyard_last_error(&told, NULL, 0);
    CHECK(told.never_started == 0 || tolerant); /* It runs. */
    boneyard_bytes_free(&result);
    status = boneyard_pending_free(waiting.pending);
    CHECK(status == BONEYARD_OK || tolerant);
    pthread_join(thread, NULL);
    CHECK(waiting.status == BONEYARD_OK || waiting.status == BONEYARD_CANCELLED || tolerant);
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_pending_free(waiting.pending));
}

struct caller {
    boneyard_client client;
    int number;
    int until_freed;
    boneyard_bytes kept;
    atomic_int done;
};

static void call_often(struct caller *caller) {
    char text[32];
    for (int n = 0; caller->until_freed || n < CALLS; n++) {
        OWNED(bytes) result = {0};
        snprintf(text, sizeof text, "[%d,%d]", caller->number, n);
        boneyard_status status = json(caller->client, "server.echo", text, &result);
        if (status == BONEYARD_INVALID_HANDLE && caller->until_freed) return;
        if (status != BONEYARD_OK && is_trouble(status)) continue;
        if (status != BONEYARD_OK) FAIL("%s", boneyard_status_name(status));
        CHECK(same(result, text));
    }
}

static void *caller(void *given) {
    struct caller *caller = given;
    boneyard_error told;
    CHECK(boneyard_last_error(&told, NULL, 0) == 0 && told.status == BONEYARD_OK);
    call_often(caller);
    json(caller->client, "server.echo", "1", &caller->kept);
    return NULL;
}

static void run_callers(int until_freed) {
    boneyard_client client = connected();
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    for (int n = 0; n < THREADS; n++) {
        callers[n] = (struct caller){client, n, until_freed, {0}, 0};
        CHECK(pthread_create(&threads[n], NULL, caller, &callers[n]) == 0);
    }
    if (until_freed) {
        moment();
        FAILS(BONEYARD_OK, boneyard_client_free(client));
    }
    for (int n = 0; n < THREADS; n++) {
        pthread_join(threads[n], NULL);
        /* What another thread was given. */
        FAILS(BONEYARD_OK, boneyard_bytes_free(&callers[n].kept));
    }
    if (!until_freed) FAILS(BONEYARD_OK, boneyard_client_free(client));
}

static void threads_share_a_client(void) {
    run_callers(0);
}

static void a_client_is_freed_while_threads_call(void) {
    run_callers(1);
}

static void sessions(void) {
    OWNED(client) client = connected();
    OWNED(client) other = connected();
    OWNED(session) session = 0;
    OWNED(session) attached = 0;
    OWNED(bytes) result = {0};
    boneyard_ticket ticket, wrong;
    GIVES(BONEYARD_OK, boneyard_session_open(client, &session));
    GIVES(BONEYARD_OK, json(session, "server.echo", "\"in a session\"", &result));
    CHECK(same(result, "\"in a session\""));
    FAILS(BONEYARD_OK, boneyard_session_ticket(session, &ticket));
    FAILS(BONEYARD_OK, boneyard_session_detach(session));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_detach(session));
    wrong = ticket;
    wrong.token[0] ^= 1;
    GIVES(BONEYARD_UNKNOWN_SESSION, boneyard_session_attach(other, &wrong, &attached));
    GIVES(BONEYARD_OK, boneyard_session_attach(other, &ticket, &attached));
    GIVES(BONEYARD_OK, boneyard_session_close(attached));
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_session_close(attached));
    GIVES(BONEYARD_UNKNOWN_SESSION, boneyard_session_attach(client, &ticket, &attached));
    GIVES(BONEYARD_OK, boneyard_session_open(other, &attached));
    FAILS(BONEYARD_OK, boneyard_session_free(attached));
}

static void several_addresses(void) {
    /* Nobody listens on port 1 of this machine. */
    const char *addresses[] = {"127.0.0.1:1", address};
    OWNED(client) client = 0;
    OWNED(client) nobody = 0;
    OWNED(bytes) result = {0};
    FAILS(BONEYARD_OK, boneyard_connect(addresses, 2, NULL, &client));
    GIVES(BONEYARD_OK, json(client, "server.echo", "2", &result));
    CHECK(same(result, "2"));
    boneyard_options options;
    FAILS(BONEYARD_OK, boneyard_options_init(&options, sizeof options));
    CHECK(options.wait_for_server == 1 && options.keepalive_s == 60);
    options.wait_for_server = 0;
    options.deadline_ms = BONEYARD_FOREVER;
    FAILS(BONEYARD_OK, boneyard_connect(addresses, 1, &options, &nobody));
    boneyard_bytes none;
    FAILS(BONEYARD_CONNECT, json(nobody, "server.echo", "2", &none));
    CHECK(none.data == NULL && strstr(words(), "127.0.0.1:1") != NULL);
    /* One that waits says after its deadline why there was no server. */
    OWNED(client) patient = 0;
    options.wait_for_server = 1;
    options.deadline_ms = 300;
    FAILS(BONEYARD_OK, boneyard_connect(addresses, 1, &options, &patient));
    FAILS(BONEYARD_CONNECT, json(patient, "server.echo", "2", &none));
    CHECK(none.data == NULL && strstr(words(), "127.0.0.1:1") != NULL);
}

/* What a program's own thread does last: the library's part of the thread is gone by then. */
static void end_of_thread(void *given) {
    boneyard_client *client = given;
    OWNED(bytes) result = {0};
    OWNED(pending) pending = 0;
    FAILS(BONEYARD_INVALID_HANDLE, json(0, "server.echo", "1", &result));
    boneyard_error told;
    memset(&told, 0xff, sizeof told);
    char why[8] = "garbage";
    boneyard_last_error(&told, why, sizeof why);
    CHECK(strcmp(why, "garbage") != 0);
    CHECK(told.status == BONEYARD_OK || told.status == BONEYARD_INVALID_HANDLE);
    boneyard_status status = json(*client, "server.echo", "1", &result);
    CHECK(status == BONEYARD_OK ? same(result, "1") : tolerant);
    status = start(*client, "load.sleep", "1", &pending);
    CHECK(status == BONEYARD_OK || tolerant);
    FAILS(BONEYARD_IN_USE, boneyard_settle(0));
    FAILS(BONEYARD_OK, boneyard_client_free(*client));
}

static pthread_key_t last;

/* Asked by LeakSanitizer, where there is one. What a thread needs anew while destructors of its keys run, glibc notes in
   32 bytes that it never frees: it has gone through those notes before. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:__cxa_thread_atexit_impl\n"; }

static void *ends(void *given) {
    OWNED(bytes) result = {0};
    FAILS(BONEYARD_INVALID_HANDLE, json(0, "server.echo", "1", &result));
    boneyard_status status = json(*(boneyard_client *)given, "server.echo", "1", &result);
    CHECK(status == BONEYARD_OK || tolerant);
    CHECK(pthread_setspecific(last, given) == 0);
    return NULL;
}

static void a_thread_calls_while_it_ends(void) {
    boneyard_client client = connected();
    pthread_t thread;
    CHECK(pthread_key_create(&last, end_of_thread) == 0);
    CHECK(pthread_create(&thread, NULL, ends, &client) == 0);
    pthread_join(thread, NULL);
    pthread_key_delete(last);
    FAILS(BONEYARD_INVALID_HANDLE, boneyard_client_free(client));
}

static void call_to_the_end(struct caller *caller) {
    int state;
    boneyard_status status = json(caller->client, "load.sleep", "100", &caller->kept);
    CHECK(status == BONEYARD_OK || tolerant);
    /* As it was before the call. */
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0 && state == PTHREAD_CANCEL_ENABLE);
    atomic_store(&caller->done, 1);
}

static void *is_cancelled(void *given) {
    call_to_the_end(given);
    /* With nothing on the stack: AddressSanitizer does not see it go. */
    for (;;) pthread_testcancel();
    return given;
}

static void a_thread_is_cancelled_in_a_call(void) {
    for (int n = 0; n < 2 * THREADS; n++) {
        struct caller caller = {.client = connected()};
        pthread_t thread;
        void *ended;
        CHECK(pthread_create(&thread, NULL, is_cancelled, &caller) == 0);
        for (int wait = 0; wait < n; wait++) moment();
        pthread_cancel(thread);
        CHECK(pthread_join(thread, &ended) == 0 && ended == PTHREAD_CANCELED);
        CHECK(atomic_load(&caller.done) == 1); /* Not before the call was over. */
        FAILS(BONEYARD_OK, boneyard_bytes_free(&caller.kept));
        FAILS(BONEYARD_OK, boneyard_client_free(caller.client));
    }
}

static void *settle(void *given) {
    FAILS(BONEYARD_OK, boneyard_settle(BONEYARD_FOREVER));
    return given;
}

static void settling(void) {
    boneyard_client client = connected();
    pthread_t threads[THREADS];
    boneyard_bytes result = {0};
    boneyard_status status = json(client, "server.echo", "1", &result);
    CHECK(status == BONEYARD_OK || tolerant);
    FAILS(BONEYARD_IN_USE, boneyard_settle(BONEYARD_FOREVER));
    FAILS(BONEYARD_OK, boneyard_client_free(client));
    /* A result has no thread. */
    for (int n = 0; n < THREADS; n++) CHECK(pthread_create(&threads[n], NULL, settle, NULL) == 0);
    for (int n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
    FAILS(BONEYARD_OK, boneyard_settle(0));
    FAILS(BONEYARD_OK, boneyard_bytes_free(&result));
}

/* The child has none of its parent's threads, and ends all the same. */
static void a_fork(void) {
    FAILS(BONEYARD_OK, boneyard_settle(BONEYARD_FOREVER));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) exit(boneyard_settle(BONEYARD_FOREVER) == BONEYARD_NOT_YET ? 0 : 1);
    int ended;
    CHECK(waitpid(child, &ended, 0) == child && WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
}

int main(int count, char **words_given) {
    if (count < 2) return 2;
    address = words_given[1];
    tolerant = count > 2 && strcmp(words_given[2], "tolerant") == 0;
    versions_and_names();
    wrong_connects();
    options_of_other_versions();
    times_without_end();
    calls();
    refused_calls();
    large_results();
    misuse_of_calls();
    wrong_handles();
    pipelining();
    a_look_and_a_short_wait_leave_the_call();
    a_call_outlives_its_client();
    cancelling();
    two_threads_do_not_wait_for_one_call();
    threads_share_a_client();
    a_client_is_freed_while_threads_call();
    sessions();
    several_addresses();
    a_thread_calls_while_it_ends();
    a_thread_is_cancelled_in_a_call();
    settling();
    a_fork();
    CHECK(boneyard_handles() == 0);
    /* The library's threads end with its connections; what they leave is a leak to whoever looks then. */
    FAILS(BONEYARD_OK, boneyard_settle(30000));
    printf("suite: %lu checks held, the surroundings failed %lu times\n", atomic_load(&checks),
           atomic_load(&troubles));
    return 0;
}
