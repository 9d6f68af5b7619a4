/* The Boneyard client for C and C++. Written from capi/src by capi/tests/header.rs: change that, not this.
 *
 * Every function that can fail returns a status; boneyard_last_error tells the rest, for each thread its own last
 * failure. Handles are numbers, 0 is none. One that was freed, or is of another kind, gives BONEYARD_INVALID_HANDLE.
 * docs/C.md has an example and the rules in short. */

#ifndef BONEYARD_H
#define BONEYARD_H

#include <stddef.h>
#include <stdint.h>

/**
 * Version of this interface: a program compiled against another number must not be linked with this library.
 * Functions and statuses may be added without a new number, and fields at the end of `boneyard_options`.
 */
#define BONEYARD_ABI_VERSION 1

/**
 * In `flags`: arguments and result are bincode.
 */
#define BONEYARD_BINCODE 0

/**
 * In `flags`: arguments and result are JSON text.
 */
#define BONEYARD_JSON 1

/**
 * In `flags`, added: the method may run twice without harm, so the call is retried even if it may have run.
 */
#define BONEYARD_IDEMPOTENT 2

/**
 * No limit, as a time in milliseconds.
 */
#define BONEYARD_FOREVER UINT64_MAX

/**
 * As `deadline_ms` of one call: the client's own deadline.
 */
#define BONEYARD_CLIENT_DEADLINE (UINT64_MAX - 1)

/**
 * Outcome of a call. A number that a program does not know is a failure.
 */
enum boneyard_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Success; of a call, the handler's result follows.
     */
    BONEYARD_OK = 0,
    /**
     * The handler ran and refused, with a code and a message of its own.
     */
    BONEYARD_APPLICATION = 1,
    /**
     * The handler ran, and a call that it made was refused or late; it may have done a part.
     */
    BONEYARD_NESTED_REFUSED = 2,
    /**
     * The server has no method of this name or number.
     */
    BONEYARD_UNKNOWN_METHOD = 10,
    /**
     * The arguments do not decode (bytes left over included), or the prelude or the chain of calls is
     * malformed.
     */
    BONEYARD_BAD_REQUEST = 11,
    /**
     * The call is larger than the server accepts; if it was sent, a GoAway follows.
     */
    BONEYARD_TOO_LARGE = 12,
    /**
     * Server and client have no protocol version in common (in a GoAway).
     */
    BONEYARD_UNSUPPORTED_VERSION = 13,
    /**
     * The client's bytes break the protocol (in a GoAway).
     */
    BONEYARD_PROTOCOL_ERROR = 14,
    /**
     * The client was too slow to say Hello, to finish a frame or to read replies (in a GoAway).
     */
    BONEYARD_TOO_SLOW = 15,
    /**
     * The connection carries no session of this number, or none has this ticket; it may have been closed or
     * moved.
     */
    BONEYARD_UNKNOWN_SESSION = 16,
    /**
     * The port's queue is full, or a caller with fewer calls in it needed the place.
     */
    BONEYARD_QUEUE_FULL = 20,
    /**
     * The server is stopping.
     */
    BONEYARD_DRAINING = 21,
    /**
     * By the forecast, the call would be answered after its deadline.
     */
    BONEYARD_WOULD_BE_LATE = 22,
    /**
     * Calls have waited in the port's queue for too long, for too long a time (CoDel).
     */
    BONEYARD_OVERLOADED = 23,
    /**
     * The session has as many unanswered calls as `Server_Session_Calls` allows.
     */
    BONEYARD_SESSION_LIMIT = 24,
    /**
     * Every worker that could run the call waits for calls like it; `Server_Nested_Reserve` avoids that.
     */
    BONEYARD_NESTED_DEADLOCK = 25,
    /**
     * The server has as many sessions as `Server_MaxUsers` allows.
     */
    BONEYARD_MAX_USERS = 26,
    /**
     * An administrator allows no new sessions (`Server_Restricted`).
     */
    BONEYARD_RESTRICTED = 27,
    /**
     * The server has no descriptor left for another connection (in a GoAway).
     */
    BONEYARD_NO_DESCRIPTORS = 28,
    /**
     * The server's buffers are full (`Server_Buffer_Memory_MB`).
     */
    BONEYARD_BUFFERS_FULL = 29,
    /**
     * The deadline passed. A server answers so only if the call was not started.
     */
    BONEYARD_DEADLINE_EXCEEDED = 30,
    /**
     * The caller cancelled the call before it was started.
     */
    BONEYARD_CANCELLED = 31,
    /**
     * The address connects more often than `Server_Max_Connects_Per_Minute` allows (in a GoAway).
     */
    BONEYARD_CONNECT_LIMIT = 32,
    /**
     * The session was idle and has been closed (in a GoAway, and in the replies to calls after it).
     */
    BONEYARD_SESSION_CLOSED = 33,
    /**
     * As many calls of the method run and wait as `[Limits]` allows.
     */
    BONEYARD_METHOD_LIMIT = 34,
    /**
     * The client has as many calls in progress, over all its connections, as `Server_Client_Calls` allows.
     */
    BONEYARD_CLIENT_LIMIT = 35,
    /**
     * The handler says that it is busy and has done nothing.
     */
    BONEYARD_SERVICE_BUSY = 36,
    /**
     * The handler panicked; it may have done a part.
     */
    BONEYARD_PANICKED = 40,
    /**
     * The handler ran; its result cannot be encoded, is too large for a frame, or is not of the method's
     * type.
     */
    BONEYARD_BAD_RESPONSE = 41,
    /**
     * The handler failed; it may have done a part. The server's log has the error, which is not for callers.
     */
    BONEYARD_INTERNAL = 42,
    /**
     * A pointer is null or misaligned, a length too large, text is not UTF-8 or a flag unknown. Nothing was done.
     */
    BONEYARD_INVALID_ARGUMENT = 100,
    /**
     * The handle was freed, never was, or is of another kind. Nothing was done.
     */
    BONEYARD_INVALID_HANDLE = 101,
    /**
     * A million handles are in use.
     */
    BONEYARD_TOO_MANY_HANDLES = 102,
    /**
     * Another thread waits for this call. Nothing was done.
     */
    BONEYARD_BUSY = 103,
    /**
     * What is waited for is not there yet: a call is still out, and its handle as good as before; or threads still
     * run.
     */
    BONEYARD_NOT_YET = 104,
    /**
     * This library has a defect and stopped what it was about.
     */
    BONEYARD_DEFECT = 105,
    /**
     * Something is left that has to be freed before. Nothing was done.
     */
    BONEYARD_IN_USE = 106,
    /**
     * The text is not `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
     */
    BONEYARD_INVALID_ADDRESS = 110,
    /**
     * An option is out of its range.
     */
    BONEYARD_INVALID_OPTION = 111,
    /**
     * The arguments cannot be sent.
     */
    BONEYARD_UNENCODABLE = 112,
    /**
     * The result is larger than `reply_bytes_max` and was thrown away.
     */
    BONEYARD_REPLY_TOO_LARGE = 113,
    /**
     * The types of the arguments or of the result are not the server's. Nothing was sent. Not seen by calls with
     * bytes, which have no types to compare.
     */
    BONEYARD_SCHEMA_MISMATCH = 114,
    /**
     * There is no connection.
     */
    BONEYARD_CONNECT = 120,
    /**
     * The connection ended before the answer came.
     */
    BONEYARD_DISCONNECTED = 121,
    /**
     * The system gives no thread.
     */
    BONEYARD_NO_THREAD = 122,
    /**
     * The server answers with a status that this library does not know.
     */
    BONEYARD_UNKNOWN_STATUS = 130,
    /**
     * The server's bytes are not the protocol's.
     */
    BONEYARD_BAD_PROTOCOL = 131,
    /**
     * The server refuses so many calls that this one was held back.
     */
    BONEYARD_THROTTLED = 140,
    /**
     * An error that this library has no number for.
     */
    BONEYARD_OTHER = 199,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum boneyard_status boneyard_status;
#else
typedef int32_t boneyard_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Whose fault an error is.
 */
enum boneyard_blame
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no error.
     */
    BONEYARD_BLAME_NOBODY = 0,
    /**
     * This program's: the same call fails again until the program or its settings change.
     */
    BONEYARD_BLAME_CALLER = 1,
    /**
     * The server's: a defect there.
     */
    BONEYARD_BLAME_SERVER = 2,
    /**
     * Nobody's program: network, machine or time. May pass.
     */
    BONEYARD_BLAME_ENVIRONMENT = 3,
    /**
     * The handler ran and said no, on purpose.
     */
    BONEYARD_BLAME_APPLICATION = 4,
    /**
     * The server is too busy or is stopping, and the call was not started, or was given up because a call that its
     * handler made was refused so. Try later or elsewhere.
     */
    BONEYARD_BLAME_OVERLOAD = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum boneyard_blame boneyard_blame;
#else
typedef int32_t boneyard_blame;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Bytes that the library owns until `boneyard_bytes_free`. A NUL follows the last of them, not counted.
 */
typedef struct boneyard_bytes {
    /**
     * The first byte; never NULL in a result. Valid until they are freed.
     */
    const uint8_t *data;
    /**
     * Number of bytes, without the NUL.
     */
    size_t length;
    /**
     * The library's own: the handle to free.
     */
    uint64_t handle;
} boneyard_bytes;

/**
 * Options of a client. Initialize them with `boneyard_options_init`, then change fields.
 */
typedef struct boneyard_options {
    /**
     * Size of the structure in the compiled program. Fields may be added at the end: a program that is older than the
     * library gets their defaults, a newer one must leave 0 in those that the library does not know.
     */
    size_t size;
    /**
     * How long each call waits for its answer, connecting included; default 10,000. 0 has passed already,
     * BONEYARD_FOREVER is no limit.
     */
    uint64_t deadline_ms;
    /**
     * How long one attempt to connect may take, over all addresses; default 5,000, not 0.
     */
    uint64_t connect_timeout_ms;
    /**
     * Hedging: after this time without an answer an idempotent `boneyard_call` is made a second time in parallel;
     * default BONEYARD_FOREVER, which is never.
     */
    uint64_t hedge_after_ms;
    /**
     * Largest body of a reply in bytes, 12 to 67,108,864, the default.
     */
    uint64_t reply_bytes_max;
    /**
     * Most retries of a `boneyard_call` that was certainly not started; default 2.
     */
    uint32_t retries;
    /**
     * Whether calls are held back while the server refuses most of them: 1, the default, or 0.
     */
    uint32_t throttle;
    /**
     * Name of the client in the server's log, at most 256 bytes, read only during `boneyard_connect`; NULL, the
     * default, is the library's own name.
     */
    const char *name;
    /**
     * TCP keep-alive: after this many seconds of silence the system probes the server's machine, and closes the
     * connection after as many more without an answer; default 60, at most 7,200. 0 never probes.
     */
    uint32_t keepalive_s;
    /**
     * Whether `boneyard_call` waits for a server that is not there, until its deadline (10 s if it has none): 1, the
     * default, or 0; with 0 retries it never waits.
     */
    uint32_t wait_for_server;
} boneyard_options;

/**
 * A server to call, as a handle; 0 is none. Threads may share it, and it shares one connection among them.
 */
typedef uint64_t boneyard_client;

/**
 * Parts of a transaction's time on the server, in microseconds. The three do not overlap.
 */
typedef struct boneyard_times {
    /**
     * From the reading of the call to its start, without the permit wait.
     */
    uint64_t queue_wait_us;
    /**
     * While a worker was idle for it and no permit was free, and after its handler's waits until there was one
     * again.
     */
    uint64_t permit_wait_us;
    /**
     * Decoding, handler and encoding.
     */
    uint64_t run_us;
} boneyard_times;

/**
 * The last failure of a thread.
 */
typedef struct boneyard_error {
    /**
     * The status that the function returned.
     */
    boneyard_status status;
    /**
     * Whose fault it is.
     */
    boneyard_blame blame;
    /**
     * The application's own number if the status is BONEYARD_APPLICATION, the status of the refused call if it is
     * BONEYARD_NESTED_REFUSED, else 0.
     */
    uint32_t code;
    /**
     * 1 if it is certain that no handler saw the call, or its handler says that it did nothing, so that a repeated call
     * does nothing twice; else 0.
     */
    uint32_t never_started;
    /**
     * Milliseconds to wait before a retry; 0 if the server does not say.
     */
    uint64_t retry_after_ms;
} boneyard_error;

/**
 * A call that is out, as a handle; 0 is none.
 */
typedef uint64_t boneyard_pending;

/**
 * A session, as a handle; 0 is none. Wherever a function takes a client it takes a session too.
 */
typedef uint64_t boneyard_session;

/**
 * Ticket by which another client can attach a session. A secret: it gives access to the session.
 */
typedef struct boneyard_ticket {
    /**
     * Number of the session at the server; in its log, no secret.
     */
    uint64_t id;
    /**
     * Random bytes.
     */
    uint8_t token[16];
} boneyard_ticket;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The library's `BONEYARD_ABI_VERSION`: a program compares it with the header's. Any thread; never blocks.
 */
uint32_t boneyard_abi_version(void);

/**
 * Version of the software, as text that lives for ever: "0.1.0". Any thread; never blocks.
 */
const char *boneyard_version(void);

/**
 * Frees a result and makes it empty. An empty one, as a failed call leaves it, and NULL are ignored. Any thread may
 * free the result of another. Never blocks.
 *
 * BONEYARD_INVALID_HANDLE: they were freed already, through a copy of the structure.
 *
 * The caller promises:
 * `bytes` is NULL or leads to a structure that this library has filled; the bytes are no longer read.
 */
boneyard_status boneyard_bytes_free(struct boneyard_bytes *bytes);

/**
 * Creates a client of a service at `count` addresses, 1 to 64, each `host`, `host:port` or `[IPv6]:port`; the default
 * port is 1352. They are tried in their order whenever a connection is made, which the first call does: this function
 * only parses them. `options` may be NULL.
 *
 * The client is freed by `boneyard_client_free`. Any thread; never blocks.
 *
 * BONEYARD_INVALID_ARGUMENT, BONEYARD_INVALID_ADDRESS, BONEYARD_INVALID_OPTION, BONEYARD_TOO_MANY_HANDLES.
 *
 * The caller promises:
 * `addresses` leads to `count` texts that end with a NUL; `options` was filled by `boneyard_options_init`; `client`
 * is writable.
 */
boneyard_status boneyard_connect(const char *const *addresses,
                                 size_t count,
                                 const struct boneyard_options *options,
                                 boneyard_client *client);

/**
 * Frees a client. 0 is ignored. Calls that are out and other threads' calls go on: the connection is closed with the
 * last of them. Any thread; never blocks.
 *
 * BONEYARD_INVALID_HANDLE.
 */
boneyard_status boneyard_client_free(boneyard_client client);

/**
 * Calls a method and blocks until its result is there, at most for `deadline_ms` (BONEYARD_CLIENT_DEADLINE for the
 * client's own). A call that was certainly not started is retried, as `retries` says, and waits for a server that is
 * not there, as `wait_for_server` says.
 *
 * `client` is a client or a session. `method` is `service.method`. `flags` give the encoding of `arguments` and of the
 * result: a method without arguments takes no bytes in bincode and `null` in JSON. `result` is freed by
 * `boneyard_bytes_free`; it is empty if the call fails. `times` may be NULL.
 *
 * Many threads may call with one client at once. Blocks.
 *
 * Any status but BONEYARD_NOT_YET and BONEYARD_BUSY.
 *
 * The caller promises:
 * `method` ends with a NUL; `length` bytes at `arguments` are readable; `result` and `times` are writable, and what
 * `result` held before is no longer needed.
 */
boneyard_status boneyard_call(boneyard_client client,
                              const char *method,
                              uint32_t flags,
                              const uint8_t *arguments,
                              size_t length,
                              uint64_t deadline_ms,
                              struct boneyard_bytes *result,
                              struct boneyard_times *times);

/**
 * Returns the last failure on this thread: fills `error`, and writes its message into `message` with a NUL at the end,
 * cut to `size` bytes at the end of a character. Returns the length of the message, uncut and without the NUL.
 *
 * Either pointer may be NULL (then with `size` 0). Before the first failure the status is BONEYARD_OK and the message
 * empty; so it is in a thread that is ending and has no storage for it, as in a destructor of a thread's data or after
 * main. A success changes nothing, nor does this function. Any thread; never blocks.
 *
 * The caller promises:
 * `error` is writable, as are `size` bytes at `message`.
 */
size_t boneyard_last_error(struct boneyard_error *error,
                           char *message,
                           size_t size);

/**
 * Number of handles of all kinds in use, on all threads: 0 when a program has freed all of its own. Any thread; never
 * blocks.
 */
size_t boneyard_handles(void);

/**
 * Fills options with the defaults, and with 0 what this library does not know of them. `size` is
 * `sizeof(boneyard_options)`. Any thread; never blocks.
 *
 * BONEYARD_INVALID_ARGUMENT: `options` is NULL, or of a size that no version of this library has.
 *
 * The caller promises:
 * `size` bytes at `options` are writable.
 */
boneyard_status boneyard_options_init(struct boneyard_options *options, size_t size);

/**
 * Sends a call and returns without its answer, so that many are out at once. It is sent once and never retried. The
 * deadline counts from here. The rest is as with `boneyard_call`.
 *
 * The handle is freed by the `boneyard_wait` that returns the outcome, or by `boneyard_pending_free`. Many threads may
 * start calls with one client at once. Blocks while the connection is made, and while more than 1 MiB of other calls
 * waits to be written.
 *
 * As `boneyard_call`, of which nothing was sent.
 *
 * The caller promises:
 * `method` ends with a NUL; `length` bytes at `arguments` are readable until this function returns; `pending` is
 * writable.
 */
boneyard_status boneyard_start(boneyard_client client,
                               const char *method,
                               uint32_t flags,
                               const uint8_t *arguments,
                               size_t length,
                               uint64_t deadline_ms,
                               boneyard_pending *pending);

/**
 * Waits for a call's outcome, at most `timeout_ms`: 0 only polls, BONEYARD_FOREVER waits as long as the call's
 * deadline.
 *
 * BONEYARD_NOT_YET, BONEYARD_BUSY, BONEYARD_INVALID_ARGUMENT and BONEYARD_INVALID_HANDLE leave the call as it was.
 * Any other status is the call's outcome, and the handle is freed. `result` and `times` are as with `boneyard_call`.
 *
 * One thread may wait for a call at a time, another gets BONEYARD_BUSY. Blocks for `timeout_ms`.
 *
 * The caller promises:
 * `result` and `times` are writable, and what `result` held before is no longer needed.
 */
boneyard_status boneyard_wait(boneyard_pending pending,
                              uint64_t timeout_ms,
                              struct boneyard_bytes *result,
                              struct boneyard_times *times);

/**
 * Cancels a call: the server does not start it. `boneyard_wait` still has to be called, and returns
 * BONEYARD_CANCELLED, or the call's outcome if it had been started. Any thread, also while another waits for the call;
 * blocks for 20 ms at most.
 *
 * BONEYARD_INVALID_HANDLE: the outcome was returned already.
 */
boneyard_status boneyard_cancel(boneyard_pending pending);

/**
 * Frees a call: it is cancelled, and its outcome is discarded, unless a thread waits for it now. 0 is ignored. Any
 * thread; blocks for 20 ms at most.
 *
 * BONEYARD_INVALID_HANDLE.
 */
boneyard_status boneyard_pending_free(boneyard_pending pending);

/**
 * Opens a session on the server. It is closed by `boneyard_session_close`, freed by that, `boneyard_session_free` or
 * `boneyard_session_detach`. Any thread; blocks as `boneyard_call` does.
 *
 * As `boneyard_call`.
 *
 * The caller promises:
 * `session` is writable.
 */
boneyard_status boneyard_session_open(boneyard_client client,
                                      boneyard_session *session);

/**
 * Attaches the session of a ticket to this client; another client that had it loses it. Any thread; blocks as
 * `boneyard_call` does.
 *
 * As `boneyard_call`; BONEYARD_UNKNOWN_SESSION if it was closed or the token is wrong.
 *
 * The caller promises:
 * `ticket` is readable, `session` writable.
 */
boneyard_status boneyard_session_attach(boneyard_client client,
                                        const struct boneyard_ticket *ticket,
                                        boneyard_session *session);

/**
 * The ticket of a session. Any thread; never blocks.
 *
 * BONEYARD_INVALID_HANDLE, BONEYARD_INVALID_ARGUMENT.
 *
 * The caller promises:
 * `ticket` is writable.
 */
boneyard_status boneyard_session_ticket(boneyard_session session, struct boneyard_ticket *ticket);

/**
 * Frees a session without closing it, so that its ticket (`boneyard_session_ticket`, called before) can be attached
 * later. Any thread; never blocks.
 *
 * BONEYARD_INVALID_HANDLE.
 */
boneyard_status boneyard_session_detach(boneyard_session session);

/**
 * Closes a session and blocks until the server has. The handle is freed whatever the outcome; a session that could not
 * be closed times out on the server. Any thread; blocks as `boneyard_call` does.
 *
 * As `boneyard_call`.
 */
boneyard_status boneyard_session_close(boneyard_session session);

/**
 * Frees a session and closes it as far as possible without waiting for the server. 0 is ignored. Any thread; blocks
 * for 20 ms at most.
 *
 * BONEYARD_INVALID_HANDLE.
 */
boneyard_status boneyard_session_free(boneyard_session session);

/**
 * Waits until the threads of freed clients have ended and released everything, at most `timeout_ms`: 0 does not wait
 * for one that still runs, BONEYARD_FOREVER waits without limit.
 *
 * The library's thread ends after the last client is freed. A leak checker may report it in a program that returns
 * from main right then; a program that forks has a thread where it expects none. Either calls this when it has freed
 * its handles. No thread should still be in a function with a client that is freed by now: it may start others.
 *
 * Any thread, also several at once; blocks for `timeout_ms`. In the child of a fork whose parent has ever had a client
 * it returns BONEYARD_NOT_YET at once: the threads are unknown there.
 *
 * BONEYARD_IN_USE: clients, sessions or pending calls are left, in any part of the program; their threads do not end
 * before those are freed, so this function has not waited. Results may be left. BONEYARD_NOT_YET: threads still run.
 */
boneyard_status boneyard_settle(uint64_t timeout_ms);

/**
 * Name of a status as in this header, "BONEYARD_QUEUE_FULL", as text that lives for ever; "" for an unknown number.
 * Any thread; never blocks.
 */
const char *boneyard_status_name(int32_t status);

/**
 * Meaning of a status, as text that lives for ever; "" for an unknown number. `boneyard_last_error` has the details.
 * Any thread; never blocks.
 */
const char *boneyard_status_text(int32_t status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BONEYARD_H */
