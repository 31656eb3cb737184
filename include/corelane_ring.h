/* corelane: both ends of a ring and both directions of waking, without a call into the library. Written by hand. The
 * Rust counterpart is src/ring and src/park.rs; docs/layout.md describes the memory. ffi-tests checks this header
 * against the library.
 *
 * C11 and C++, gcc or clang, Linux. In strict C (-std=c11) define _DEFAULT_SOURCE or _GNU_SOURCE before the first
 * include.
 *
 * Only one thread at a time may use a producer or consumer struct. A ring has one producer and one consumer for its
 * whole life.
 *
 * Sleep and wake follow Dekker's scheme: each side stores, executes a full fence, then loads what the other side
 * stores.
 *
 *   data:   producer: corelane_ring_publish: store the tail; fence; if the consumer's word is 1, clear it and wake
 *           consumer: corelane_wake_arm; corelane_ring_has_more on every ring; corelane_wake_sleep;
 *                     corelane_wake_disarm
 *   space:  producer: after CORELANE_FULL: publish; corelane_ring_request_space; corelane_wake_arm;
 *                     corelane_ring_space_moved (which checks CLOSED as well); sleep; disarm
 *           consumer: corelane_ring_release: store the head; fence; if NEED_SPACE is set, wake the producer
 *
 * A thread that is both producer and consumer arms once, re-checks both, and sleeps once. It drains its descriptor
 * after corelane_wake_disarm and before it polls, never between the re-check and the sleep: that would lose a wake. */
#ifndef CORELANE_RING_H
#define CORELANE_RING_H

#include "corelane.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if !defined(__cplusplus) && !defined(_DEFAULT_SOURCE) && !defined(_GNU_SOURCE)
#error "corelane_ring.h needs syscall(): define _DEFAULT_SOURCE or _GNU_SOURCE before the first include"
#endif

#define CORELANE_RING_MAGIC UINT32_C(0x31524c43)
#define CORELANE_RING_VERSION 1u
#define CORELANE_RING_ALIGNMENT UINT64_C(64)
#define CORELANE_RING_PREFIX 8u
#define CORELANE_RING_PAD 0xffffu

/* The full fence between a publication and the load of a wake word. gcc rejects fences under its thread sanitizer.
 * There a read-modify-write of the word, which both sides change anyway, gives the same order. */
#if defined(__SANITIZE_THREAD__)
#define CORELANE_FENCE(word) ((void)__atomic_fetch_or((word), 0u, __ATOMIC_SEQ_CST))
#else
#define CORELANE_FENCE(word) ((void)(word), __atomic_thread_fence(__ATOMIC_SEQ_CST))
#endif

/* A thread's wake word and how the thread sleeps: on the descriptor, or, if `fd` is -1, on the word itself (futex). */
typedef struct corelane_wake {
  uint32_t *word; /* 0 awake, 1 asleep */
  int32_t fd;
} corelane_wake;

/* Announces that this thread is about to sleep. Afterwards re-check everything that could have been published, and
 * sleep only if nothing was. */
static inline void corelane_wake_arm(corelane_wake wake) {
  (void)__atomic_exchange_n(wake.word, 1u, __ATOMIC_ACQ_REL);
  CORELANE_FENCE(wake.word);
}

/* Ends the announcement, after the sleep or instead of it. */
static inline void corelane_wake_disarm(corelane_wake wake) {
  (void)__atomic_exchange_n(wake.word, 0u, __ATOMIC_ACQ_REL);
}

/* Makes the descriptor unreadable. Call it before a poll. */
static inline void corelane_wake_drain(corelane_wake wake) {
  uint64_t count;
  if (wake.fd >= 0) {
    while (read(wake.fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
  }
}

/* Sleeps until woken, for at most this many milliseconds. May return spuriously. */
static inline void corelane_wake_sleep(corelane_wake wake, int milliseconds) {
  if (wake.fd >= 0) {
    struct pollfd descriptor;
    descriptor.fd = wake.fd;
    descriptor.events = POLLIN;
    descriptor.revents = 0;
    (void)poll(&descriptor, 1, milliseconds);
  } else {
    struct timespec limit;
    limit.tv_sec = milliseconds / 1000;
    limit.tv_nsec = (milliseconds % 1000) * 1000000L;
    (void)syscall(SYS_futex, wake.word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1u, &limit, NULL, 0);
  }
}

/* After a publication and CORELANE_FENCE: if the word says asleep, clears it and wakes the thread. Returns whether it
 * did. */
static inline bool corelane_wake_if_asleep(corelane_wake wake) {
  if (__atomic_load_n(wake.word, __ATOMIC_RELAXED) != 1u) {
    return false;
  }
  if (__atomic_exchange_n(wake.word, 0u, __ATOMIC_ACQ_REL) != 1u) {
    return false;
  }
  if (wake.fd >= 0) {
    const uint64_t one = 1;
    while (write(wake.fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
  } else {
    (void)syscall(SYS_futex, wake.word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
  }
  return true;
}

/* The worker's wake word (a futex) and the port's (an eventfd). */
static inline corelane_wake corelane_worker_wake_of(const corelane_layout *layout) {
  corelane_wake wake;
  wake.word = layout->worker_wake;
  wake.fd = -1;
  return wake;
}

static inline corelane_wake corelane_port_wake_of(const corelane_layout *layout) {
  corelane_wake wake;
  wake.word = layout->port_wake;
  wake.fd = layout->port_fd;
  return wake;
}

static inline uint64_t *corelane_ring_u64(const corelane_ring *ring, uint32_t offset) {
  return (uint64_t *)(void *)(ring->base + offset);
}

static inline uint32_t *corelane_ring_u32(const corelane_ring *ring, uint32_t offset) {
  return (uint32_t *)(void *)(ring->base + offset);
}

/* Checks that this header knows the layout. Returns CORELANE_OK, CORELANE_ABI or CORELANE_CORRUPT. */
static inline int32_t corelane_ring_check(const corelane_layout *layout, const corelane_ring *ring) {
  uint64_t capacity = ring->capacity;
  if (layout->layout_version != CORELANE_RING_VERSION || layout->features != 0) {
    return CORELANE_ABI;
  }
  if (capacity < 1024 || (capacity & (capacity - 1)) != 0 || ring->data % CORELANE_RING_ALIGNMENT != 0 ||
      *corelane_ring_u32(ring, 0) != CORELANE_RING_MAGIC ||
      *corelane_ring_u32(ring, 4) != CORELANE_RING_VERSION || *corelane_ring_u64(ring, 8) != capacity ||
      *corelane_ring_u64(ring, 16) != ring->data) {
    return CORELANE_CORRUPT;
  }
  return CORELANE_OK;
}

static inline bool corelane_ring_closed(const corelane_ring *ring) {
  return __atomic_load_n(corelane_ring_u32(ring, ring->closed), __ATOMIC_ACQUIRE) != 0;
}

/* Marks the ring as corrupt for both sides: its contents cannot be trusted. Returns CORELANE_CORRUPT. */
static inline int32_t corelane_ring_corrupt(const corelane_ring *ring) {
  __atomic_store_n(corelane_ring_u32(ring, ring->corrupt), 1u, __ATOMIC_RELAXED);
  return CORELANE_CORRUPT;
}

/* Writes the prefix of a record: length, kind and flags. */
static inline void corelane_ring_prefix(unsigned char *place, uint32_t length, uint16_t kind, uint16_t flags) {
  memcpy(place, &length, 4);
  memcpy(place + 4, &kind, 2);
  memcpy(place + 6, &flags, 2);
}

/* ---- The producer ---- */

typedef struct corelane_producer {
  corelane_ring ring;
  corelane_wake consumer;
  uint64_t tail;        /* position of the next record */
  uint64_t published;   /* records in published..tail are written but not visible */
  uint64_t cached_head; /* the consumer's head at the last look */
  uint64_t pushed;
  uint64_t claimed;
  bool needs_space;
} corelane_producer;

/* Takes over the positions after a call of the library that pushes, and whether that call asked for space. Everything
 * that this struct committed must be published. cached_head does not change: corelane_ring_space_moved compares with
 * it, so it must not be newer than a refusal inside the call. corelane_producer_look, before the call, makes sure of
 * that: the refusal saw that head or a later one. A head read here may already be the one that the consumer stored
 * after the refusal. A comparison with that head would wait for the next one, which an empty ring never gets. */
static inline int32_t corelane_producer_resume(corelane_producer *producer) {
  const corelane_ring *ring = &producer->ring;
  uint64_t tail = __atomic_load_n(corelane_ring_u64(ring, ring->tail), __ATOMIC_RELAXED);
  uint64_t head = __atomic_load_n(corelane_ring_u64(ring, ring->head), __ATOMIC_ACQUIRE);
  if (tail < producer->published || tail % CORELANE_RING_ALIGNMENT != 0 || head < producer->cached_head || head > tail ||
      tail - head > ring->capacity) {
    return corelane_ring_corrupt(ring);
  }
  producer->tail = producer->published = tail;
  producer->claimed = 0;
  producer->needs_space = __atomic_load_n(corelane_ring_u32(ring, ring->need_space), __ATOMIC_RELAXED) != 0;
  producer->pushed = __atomic_load_n(corelane_ring_u64(ring, ring->pushed), __ATOMIC_RELAXED);
  return CORELANE_OK;
}

static inline int32_t corelane_producer_look(corelane_producer *producer) {
  uint64_t head = __atomic_load_n(corelane_ring_u64(&producer->ring, producer->ring.head), __ATOMIC_ACQUIRE);
  if (head < producer->cached_head || head > producer->published) {
    return corelane_ring_corrupt(&producer->ring);
  }
  producer->cached_head = head;
  return CORELANE_OK;
}

/* Takes over the producer end at its present position. `consumer` is how the other side sleeps. */
static inline int32_t corelane_producer_open(corelane_producer *producer, const corelane_layout *layout,
                                             const corelane_ring *ring, corelane_wake consumer) {
  int32_t status = corelane_ring_check(layout, ring);
  if (status != CORELANE_OK) {
    return status;
  }
  memset(producer, 0, sizeof *producer);
  producer->ring = *ring;
  producer->consumer = consumer;
  status = corelane_producer_resume(producer);
  return status == CORELANE_OK ? corelane_producer_look(producer) : status;
}

/* Claims space for a record of `length` bytes and writes the 8-byte prefix, which `length` includes. On
 * CORELANE_FULL, CORELANE_TOO_LARGE, CORELANE_CLOSED and CORELANE_CORRUPT the ring's records are unchanged; a full
 * ring is counted in refused_full. The next claim discards a claim that was not committed. */
static inline int32_t corelane_ring_claim(corelane_producer *producer, uint32_t length, uint16_t kind,
                                          uint16_t flags, unsigned char **record) {
  const uint64_t capacity = producer->ring.capacity;
  uint64_t needed, index, to_end, pad;
  unsigned char *data = producer->ring.base + producer->ring.data;
  if (length < CORELANE_RING_PREFIX || length > capacity / 4 || kind == CORELANE_RING_PAD) {
    return CORELANE_TOO_LARGE;
  }
  if (corelane_ring_closed(&producer->ring)) {
    return CORELANE_CLOSED;
  }
  needed = (length + CORELANE_RING_ALIGNMENT - 1) & ~(CORELANE_RING_ALIGNMENT - 1);
  index = producer->tail & (capacity - 1);
  to_end = capacity - index;
  pad = needed > to_end ? to_end : 0;
  if (producer->tail + pad + needed - producer->cached_head > capacity) {
    int32_t status = corelane_producer_look(producer);
    if (status != CORELANE_OK) {
      return status;
    }
    if (producer->tail + pad + needed - producer->cached_head > capacity) {
      uint64_t *refused = corelane_ring_u64(&producer->ring, producer->ring.refused_full);
      __atomic_store_n(refused, __atomic_load_n(refused, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
      return CORELANE_FULL;
    }
  }
  if (pad != 0) {
    corelane_ring_prefix(data + index, (uint32_t)pad, CORELANE_RING_PAD, 0);
    index = 0;
  }
  corelane_ring_prefix(data + index, length, kind, flags);
  producer->claimed = pad + needed;
  *record = data + index;
  return CORELANE_OK;
}

/* Appends the last claimed record to the ring. It stays invisible until corelane_ring_publish. */
static inline void corelane_ring_commit(corelane_producer *producer) {
  if (producer->claimed != 0) {
    producer->tail += producer->claimed;
    producer->claimed = 0;
    producer->pushed += 1;
  }
}

/* Makes all committed records visible and wakes the consumer if it sleeps. Call it once per batch. Returns whether it
 * woke the consumer. */
static inline bool corelane_ring_publish(corelane_producer *producer) {
  if (producer->tail == producer->published) {
    return false;
  }
  producer->published = producer->tail;
  __atomic_store_n(corelane_ring_u64(&producer->ring, producer->ring.pushed), producer->pushed, __ATOMIC_RELAXED);
  __atomic_store_n(corelane_ring_u64(&producer->ring, producer->ring.tail), producer->tail, __ATOMIC_RELEASE);
  if (producer->needs_space) {
    __atomic_store_n(corelane_ring_u32(&producer->ring, producer->ring.need_space), 0u, __ATOMIC_RELAXED);
    producer->needs_space = false;
  }
  CORELANE_FENCE(producer->consumer.word);
  return corelane_wake_if_asleep(producer->consumer);
}

/* Before arming: announces that this side waits for space. The next publication withdraws that. */
static inline void corelane_ring_request_space(corelane_producer *producer) {
  producer->needs_space = true;
  __atomic_store_n(corelane_ring_u32(&producer->ring, producer->ring.need_space), 1u, __ATOMIC_RELAXED);
}

/* After corelane_wake_arm: whether the consumer has released space, or the ring is closed. */
static inline bool corelane_ring_space_moved(const corelane_producer *producer) {
  uint64_t head = __atomic_load_n(corelane_ring_u64(&producer->ring, producer->ring.head), __ATOMIC_RELAXED);
  return head != producer->cached_head || corelane_ring_closed(&producer->ring);
}

/* ---- The consumer ---- */

typedef struct corelane_consumer {
  corelane_ring ring;
  corelane_wake producer;
  uint64_t head;     /* position of the next record */
  uint64_t released; /* records in released..head are read but not released */
  uint64_t cached_tail;
  uint64_t popped;
} corelane_consumer;

/* A record in place; valid until corelane_ring_release. */
typedef struct corelane_record_view {
  const unsigned char *bytes; /* including the prefix */
  uint32_t length;
  uint16_t kind;
  uint16_t flags;
} corelane_record_view;

/* Takes over the consumer end at its present position. `producer` is how the other side sleeps. */
static inline int32_t corelane_consumer_open(corelane_consumer *consumer, const corelane_layout *layout,
                                             const corelane_ring *ring, corelane_wake producer) {
  int32_t status = corelane_ring_check(layout, ring);
  uint64_t head;
  if (status != CORELANE_OK) {
    return status;
  }
  memset(consumer, 0, sizeof *consumer);
  consumer->ring = *ring;
  consumer->producer = producer;
  head = __atomic_load_n(corelane_ring_u64(ring, ring->head), __ATOMIC_RELAXED);
  if (head % CORELANE_RING_ALIGNMENT != 0) {
    return CORELANE_CORRUPT;
  }
  consumer->head = consumer->released = consumer->cached_tail = head;
  consumer->popped = __atomic_load_n(corelane_ring_u64(ring, ring->popped), __ATOMIC_RELAXED);
  return CORELANE_OK;
}

/* Loads the tail; call it once per batch. Returns 1 if there are records, 0 if there are none, or CORELANE_CORRUPT. */
static inline int32_t corelane_ring_refresh(corelane_consumer *consumer) {
  uint64_t tail = __atomic_load_n(corelane_ring_u64(&consumer->ring, consumer->ring.tail), __ATOMIC_ACQUIRE);
  if (tail != consumer->cached_tail) {
    if (tail < consumer->cached_tail || tail - consumer->released > consumer->ring.capacity ||
        tail % CORELANE_RING_ALIGNMENT != 0) {
      return corelane_ring_corrupt(&consumer->ring);
    }
    consumer->cached_tail = tail;
  }
  return consumer->head != tail;
}

/* Takes the next record before the tail that was loaded last. Returns 1 and the record, 0 if there is none, or
 * CORELANE_CORRUPT. */
static inline int32_t corelane_ring_poll(corelane_consumer *consumer, corelane_record_view *record) {
  const unsigned char *data = consumer->ring.base + consumer->ring.data;
  for (;;) {
    uint64_t available = consumer->cached_tail - consumer->head;
    uint64_t index = consumer->head & (consumer->ring.capacity - 1);
    uint64_t to_end = consumer->ring.capacity - index, stride;
    uint32_t length;
    uint16_t kind, flags;
    if (available == 0) {
      return 0;
    }
    memcpy(&length, data + index, 4);
    memcpy(&kind, data + index + 4, 2);
    memcpy(&flags, data + index + 6, 2);
    stride = (length + CORELANE_RING_ALIGNMENT - 1) & ~(CORELANE_RING_ALIGNMENT - 1);
    if (kind == CORELANE_RING_PAD) {
      if (length != to_end || stride > available) {
        return corelane_ring_corrupt(&consumer->ring);
      }
      consumer->head += stride;
      continue;
    }
    if (length < CORELANE_RING_PREFIX || length > consumer->ring.capacity / 4 || stride > available ||
        stride > to_end) {
      return corelane_ring_corrupt(&consumer->ring);
    }
    consumer->head += stride;
    consumer->popped += 1;
    record->bytes = data + index;
    record->length = length;
    record->kind = kind;
    record->flags = flags;
    return 1;
  }
}

/* Releases the space of all records read and wakes the producer if it waits for space. Call it once per batch.
 * Returns whether it woke the producer. */
static inline bool corelane_ring_release(corelane_consumer *consumer) {
  if (consumer->head == consumer->released) {
    return false;
  }
  consumer->released = consumer->head;
  __atomic_store_n(corelane_ring_u64(&consumer->ring, consumer->ring.popped), consumer->popped, __ATOMIC_RELAXED);
  __atomic_store_n(corelane_ring_u64(&consumer->ring, consumer->ring.head), consumer->head, __ATOMIC_RELEASE);
  CORELANE_FENCE(consumer->producer.word);
  if (__atomic_load_n(corelane_ring_u32(&consumer->ring, consumer->ring.need_space), __ATOMIC_RELAXED) == 0) {
    return false; /* Only the producer writes that word. */
  }
  return corelane_wake_if_asleep(consumer->producer);
}

/* Writes how far this side is: `taken`, the position up to which every record was handed out, and `handed`, the
 * number of recipients of the next record that have it already. The release of the port continues there. Relaxed:
 * only that call reads the words, on this thread or on a thread that this thread passed the port to, and they publish
 * nothing. */
static inline void corelane_ring_tell(const corelane_consumer *consumer, uint64_t taken, uint64_t handed) {
  uint64_t *cell = corelane_ring_u64(&consumer->ring, consumer->ring.taken);
  if (__atomic_load_n(cell, __ATOMIC_RELAXED) != taken) {
    __atomic_store_n(cell, taken, __ATOMIC_RELAXED);
  }
  cell = corelane_ring_u64(&consumer->ring, consumer->ring.handed);
  if (__atomic_load_n(cell, __ATOMIC_RELAXED) != handed) {
    __atomic_store_n(cell, handed, __ATOMIC_RELAXED);
  }
}

/* After corelane_wake_arm: whether there are records, by the shared tail. */
static inline bool corelane_ring_has_more(const corelane_consumer *consumer) {
  return __atomic_load_n(corelane_ring_u64(&consumer->ring, consumer->ring.tail), __ATOMIC_RELAXED) != consumer->head;
}

#endif
