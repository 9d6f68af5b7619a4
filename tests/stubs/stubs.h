/* Written by `boneyard stubs --lang c`. Each function calls a method with JSON text that ends with a NUL, or with NULL
 * where it takes nothing, and waits as long as the client waits. The result is JSON text, to be freed by
 * boneyard_bytes_free. Above each function stands what it takes and gives. */

#ifndef BONEYARD_STUBS_H
#define BONEYARD_STUBS_H

#include <boneyard.h>
#include <string.h>

static inline boneyard_status boneyard_stubs_call(boneyard_client client, const char *method, const char *json,
                                                  boneyard_bytes *result) {
    const char *text = json == NULL ? "null" : json;
    return boneyard_call(client, method, BONEYARD_JSON, (const uint8_t *)text, strlen(text), BONEYARD_CLIENT_DEADLINE,
                         result, NULL);
}

/* NoteError: boneyard_error.code where the status is BONEYARD_APPLICATION. */
#define CODE_NOTE_ERROR_NO_SUCH_NOTE UINT32_C(1) /* there is no such note */
#define CODE_NOTE_ERROR_NONE_ UINT32_C(2) /* * / nothing */
#define CODE_NOTE_ERROR_LAST UINT32_C(4294967295) /* the number is "large" */

/* (Color <Red | Gray: u8 | Rgb: (u8, u8, u8) | Named: { name: text }>, Color <Red | Gray: u8 | Rgb: (u8, u8, u8) | Named: { name: text }>) -> [Color <Red | Gray: u8 | Rgb: (u8, u8, u8) | Named: { name: text }>] */
static inline boneyard_status call_more_notes_async_import(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "more-notes.async.import", json, result);
}

/* any -> any */
static inline boneyard_status call_notes_any(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "notes.any", json, result);
}

/* types not known: it was declared without a description */
static inline boneyard_status call_notes_class(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "notes.class", json, result);
}

/* Note { title: text, color: Color <Red | Gray: u8 | Rgb: (u8, u8, u8) | Named: { name: text }>, due: u64?, tags: [text], "seen by": [u32: (text, bool)], raw: bytes } -> u64 */
static inline boneyard_status call_notes_create(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "notes.create", json, result);
}

/* u64 -> nothing ! NoteError <NoSuchNote = 1 | None = 2 | Last = 4294967295> */
static inline boneyard_status call_notes_delete(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "notes.delete", json, result);
}

/* nothing -> [(u64, text)] */
static inline boneyard_status call_notes_list(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "notes.list", json, result);
}

/* u64 -> Note { title: text, color: Color <Red | Gray: u8 | Rgb: (u8, u8, u8) | Named: { name: text }>, due: u64?, tags: [text], "seen by": [u32: (text, bool)], raw: bytes }? */
static inline boneyard_status call_notes_read(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "notes.read", json, result);
}

/* types not known: it reads and writes its bytes itself */
static inline boneyard_status call_server_echo(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "server.echo", json, result);
}

/* text -> MethodErrors { name: text, codes: [ErrorCode { code: u32, name: text, text: text }] } */
static inline boneyard_status call_server_errors(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "server.errors", json, result);
}

/* nothing -> Info { server: text, protocol: u16, uptime_ms: u64, max_concurrent_trans: i64, in_flight: u64, permits_out: u32, permits_peak: u32, answered: u64, ports: [PortInfo { name: text, address: text, workers: u32 }], sessions: u64, sessions_timed_out: u64, sessions_displaced: u64 } */
static inline boneyard_status call_server_info(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "server.info", json, result);
}

/* nothing -> [text] */
static inline boneyard_status call_server_methods(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "server.methods", json, result);
}

/* nothing -> nothing */
static inline boneyard_status call_server_ping(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "server.ping", json, result);
}

/* text -> MethodSchema { fingerprint: u64, bincode: ShapeTexts { request: text, response: text }?, json: ShapeTexts { request: text, response: text }?, unknown: text } */
static inline boneyard_status call_server_schema(boneyard_client client, const char *json,
        boneyard_bytes *result) {
    return boneyard_stubs_call(client, "server.schema", json, result);
}

#endif
