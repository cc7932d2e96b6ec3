/* fuzz.h: what the harnesses of libFuzzer share: a claim that must hold whatever the input is, and what every message must be. */
#ifndef SLUICE_FUZZ_H
#define SLUICE_FUZZ_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                                                                                                                  \
	do {                                                                                                                     \
		if (!(x)) {                                                                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                                  \
			abort();                                                                                                 \
		}                                                                                                                \
	} while (0)

/* It has words, and no control characters but those of UTF-8. */
static inline void words(const char *text)
{
	MUST(text && *text);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			fprintf(stderr, "%s\n", text);
			MUST(!"a control character in a message");
		}
}

/* Every message is made and has words; they are freed. */
static inline void errors(struct errs *errs)
{
	for (size_t i = 0; i < errs->n; i++) {
		char *text = err_text(&errs->v[i]);

		words(text);
		free(text);
	}
	errs_free(errs);
}
#endif
