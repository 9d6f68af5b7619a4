/* Uses the stubs of the test's server. */
#include "stubs.h"

int main(void) {
    boneyard_bytes result;
    boneyard_status status = call_notes_read(0, "1", &result);
    return status == BONEYARD_OK && call_more_notes_async_import(0, "[\"Red\",\"Red\"]", &result) == BONEYARD_OK;
}
