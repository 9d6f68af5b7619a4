//! C: a function for each method over `boneyard_call`, with its types as a comment. Arguments and result are JSON text:
//! C has no text or lists of its own, and programs have a JSON library that they know.

use super::errors::ErrorLists;
use super::names::{Names, StubMethod, comment, function_name};

const HEAD: &str = "\
/* Written by `boneyard stubs --lang c`. Each function calls a method with JSON text that ends with a NUL, or with NULL
 * where it takes nothing, and waits as long as the client waits. The result is JSON text, to be freed by
 * boneyard_bytes_free. Above each function stands what it takes and gives. */

#ifndef BONEYARD_STUBS_H
#define BONEYARD_STUBS_H

#include <boneyard.h>
#include <string.h>

static inline boneyard_status boneyard_stubs_call(boneyard_client client, const char *method, const char *json,
                                                  boneyard_bytes *result) {
    const char *text = json == NULL ? \"null\" : json;
    return boneyard_call(client, method, BONEYARD_JSON, (const uint8_t *)text, strlen(text), BONEYARD_CLIENT_DEADLINE,
                         result, NULL);
}
";

pub(super) fn write(methods: &[StubMethod]) -> String {
    let mut names = Names::new(&["boneyard_stubs_call"]);
    let mut text = HEAD.to_owned() + &ErrorLists::new(methods, &mut names).c(&mut names);
    for method in methods {
        let name = names.unique(&format!("call_{}", function_name(&method.name)));
        let (called, comment) = (&method.name, comment(&method.described()));
        text += &format!(
            "\n/* {comment} */\n\
             static inline boneyard_status {name}(boneyard_client client, const char *json,\n        \
             boneyard_bytes *result) {{\n    return boneyard_stubs_call(client, \"{called}\", json, result);\n}}\n"
        );
    }
    text + "\n#endif\n"
}
