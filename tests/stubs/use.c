/* Uses the stubs of the test's server. */
#include "stubs.h"

int main(void) {
    boneyard_bytes result;
    boneyard_status status = call_notes_read(0, "1", &result);
    boneyard_error error;
    boneyard_last_error(&error, NULL, 0);
    if (status == BONEYARD_APPLICATION && error.code == CODE_NOTE_ERROR_NO_SUCH_NOTE) {
        return 1;
    }
    return status == BONEYARD_OK && call_more_notes_async_import(0, "[\"Red\",\"Red\"]", &result) == BONEYARD_OK;
}
