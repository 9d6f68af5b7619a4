/* Mistakes that a sanitizer has to find: planted ADDRESS, compiled with -DMISTAKE=0 or 1. */
#include "check.h"

int main(int count, char **words_given) {
    if (count < 2) return 2;
    const char *address = words_given[1];
    boneyard_client client;
    boneyard_bytes result;
    FAILS(BONEYARD_OK, boneyard_connect(&address, 1, NULL, &client));
    FAILS(BONEYARD_OK, boneyard_call(client, "server.echo", BONEYARD_JSON, (const uint8_t *)"12345", 5,
                                     BONEYARD_CLIENT_DEADLINE, &result, NULL));
    const volatile uint8_t *data = result.data;
    boneyard_bytes_free(&result);
    boneyard_client_free(client);
    FAILS(BONEYARD_OK, boneyard_settle(30000)); /* so that nothing else is found */
#if MISTAKE == 0
    if (data[0] == '1') puts("read");
#else
    char *volatile lost = malloc(100);
    lost[0] = (char)(data != NULL);
    lost = NULL;
#endif
    return 0;
}
