/* The memory of a port's rings, which a test overwrites. Offsets: docs/layout.md. */
#ifndef MEMORY_H
#define MEMORY_H

#include "corelane.h"

enum { RING_CAPACITY = 8, RING_TAIL = 128, RING_HEAD = 256, RING_CLOSED = 388, RING_SEAL = 400, RING_DATA = 512 };

/* Only in a library with the feature `ffi-test`. */
int32_t corelane_test_ring(corelane_port port, uint32_t worker, uint32_t egress, uint8_t **out_base);

static inline uint64_t *word(uint8_t *ring, uint64_t at) { return (uint64_t *)(void *)(ring + at); }

#endif
