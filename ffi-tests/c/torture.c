/* The layout and both wakes from outside: records of random sizes go through a ring to a Rust thread and come back on
 * another, without a call into the library. Both sides sleep: Rust on a futex, this side on an eventfd; the rings are so
 * small that they fill all the time. A lost wake is a message with every position, not a hang.
 *
 * torture [RECORDS [CAPACITY]] */
#define _DEFAULT_SOURCE
#include "corelane_ring.h"

#include "check.h"
#include <inttypes.h>

#ifndef LONGEST_SLEEP_MS
#define LONGEST_SLEEP_MS 20000
#endif

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

/* xorshift64*: the same on both ends of a record's life, so nothing need be kept. */
static uint64_t next_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Sizes: mostly small, sometimes as large as the ring takes. */
static uint32_t length_of(uint64_t random, uint64_t capacity) {
  uint64_t limit = (random & 0x1f) == 0 ? capacity / 4 : 200;
  return 24 + (uint32_t)((random >> 8) % (limit - 23));
}

/* Every byte of a record follows from its number, whose hash is its first word. */
static uint64_t seed_of(uint64_t number) {
  uint64_t state = number * UINT64_C(0xd1342543de82ef95) + 1;
  return next_random(&state);
}

static void fill(unsigned char *record, uint32_t length, uint64_t number) {
  uint64_t seed = seed_of(number), sum = seed ^ length;
  uint32_t at;
  memcpy(record + 8, &number, 8);
  for (at = 24; at + 8 <= length; at += 8) {
    memcpy(record + at, &seed, 8);
    sum = (sum ^ seed) * UINT64_C(0x100000001b3);
    seed += UINT64_C(0x9e3779b97f4a7c15);
  }
  for (; at < length; at++) {
    record[at] = (unsigned char)(seed >> 56);
    sum = (sum ^ record[at]) * UINT64_C(0x100000001b3);
  }
  memcpy(record + 16, &sum, 8);
}

/* Sums what lies there, not what should. */
static bool is_whole(const unsigned char *record, uint32_t length, uint64_t number) {
  uint64_t seed = seed_of(number), sum = seed ^ length, stored, word;
  uint32_t at;
  memcpy(&stored, record + 8, 8);
  if (stored != number) {
    return false;
  }
  for (at = 24; at + 8 <= length; at += 8) {
    memcpy(&word, record + at, 8);
    sum = (sum ^ word) * UINT64_C(0x100000001b3);
  }
  for (; at < length; at++) {
    sum = (sum ^ record[at]) * UINT64_C(0x100000001b3);
  }
  memcpy(&stored, record + 16, 8);
  return stored == sum;
}

/* Lets the other side's publications fall between this side's steps: without it both take turns in lockstep. */
static void jitter(void) {
  static uint64_t state = 88172645463325252;
  uint64_t random = next_random(&state);
  volatile uint64_t turns = (random & 3) == 0 ? (random >> 8) & 0x7ff : 0;
  while (turns > 0) {
    turns--;
  }
}

static void dump(const char *why, const corelane_layout *layout, uint64_t sent, uint64_t received) {
  const corelane_ring *rings[2];
  int at;
  rings[0] = &layout->ingress;
  rings[1] = &layout->egress;
  fprintf(stderr, "%s: sent %" PRIu64 ", received %" PRIu64 ", worker word %u, port word %u\n", why, sent, received,
          *(volatile uint32_t *)layout->worker_wake, *(volatile uint32_t *)layout->port_wake);
  for (at = 0; at < 2; at++) {
    const corelane_ring *ring = rings[at];
    fprintf(stderr, "  %s: tail %" PRIu64 " head %" PRIu64 " capacity %" PRIu64 " need_space %u closed %u corrupt %u\n",
            at == 0 ? "to Rust" : "from Rust", *corelane_ring_u64(ring, ring->tail), *corelane_ring_u64(ring, ring->head),
            ring->capacity, *corelane_ring_u32(ring, ring->need_space), *corelane_ring_u32(ring, ring->closed),
            *corelane_ring_u32(ring, ring->corrupt));
  }
}

int main(int argc, char **argv) {
  const uint64_t records = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
  const uint64_t capacity = argc > 2 ? strtoull(argv[2], NULL, 10) : 4096;
  uint64_t sent = 0, received = 0, sleeps = 0, rust_sleeps = 0, wakes = 0, full = 0, bytes = 0, next_seed, refused;
  uint64_t check_state = random_state;
  corelane_layout layout;
  corelane_producer producer;
  corelane_consumer consumer;
  corelane_wake own;
  struct timespec start, end;
  int64_t echoed;

  alarm(300);
  memset(&layout, 0, sizeof layout);
  NEED(corelane_test_echo_start(capacity, &layout) == CORELANE_ABI); /* size is not set */
  layout.size = sizeof layout;
  NEED(corelane_test_echo_start(capacity + 1, &layout) == CORELANE_INVALID);
  NEED(corelane_test_echo_start(capacity, &layout) == CORELANE_OK);
  own = corelane_port_wake_of(&layout);
  NEED(corelane_producer_open(&producer, &layout, &layout.ingress, corelane_worker_wake_of(&layout)) == CORELANE_OK);
  NEED(corelane_consumer_open(&consumer, &layout, &layout.egress, corelane_worker_wake_of(&layout)) == CORELANE_OK);
  clock_gettime(CLOCK_MONOTONIC, &start);
  next_seed = next_random(&random_state);

  while (received < records) {
    bool stalled = false;
    corelane_record_view record;
    uint64_t before = received;
    uint64_t burst = 1 + (next_seed >> 40) % 64;
    int32_t status;

    for (; sent < records && burst > 0; burst--) {
      uint32_t length = length_of(next_seed, capacity);
      unsigned char *place;
      status = corelane_ring_claim(&producer, length, (uint16_t)(sent % 1000 + 1), (uint16_t)(sent >> 3), &place);
      if (status == CORELANE_FULL) {
        stalled = true;
        full++;
        break;
      }
      NEED(status == CORELANE_OK);
      fill(place, length, sent);
      corelane_ring_commit(&producer);
      bytes += length;
      sent++;
      next_seed = next_random(&random_state);
    }
    wakes += corelane_ring_publish(&producer);

    status = corelane_ring_refresh(&consumer);
    while (status > 0 && (status = corelane_ring_poll(&consumer, &record)) > 0) {
      uint32_t length = length_of(next_random(&check_state), capacity);
      if (record.length != length || record.kind != received % 1000 + 1 || record.flags != (uint16_t)(received >> 3) ||
          !is_whole(record.bytes, record.length, received)) {
        dump("a record is not as it was sent", &layout, sent, received);
        return 1;
      }
      received++;
    }
    NEED(status == 0);
    wakes += corelane_ring_release(&consumer);

    if (received == before && (stalled || sent == records)) {
      struct timespec slept, woken;
      jitter();
      if (stalled) {
        corelane_ring_request_space(&producer);
      }
      corelane_wake_arm(own);
      if (!corelane_ring_has_more(&consumer) && !(stalled && corelane_ring_space_moved(&producer))) {
        jitter();
        sleeps++;
        clock_gettime(CLOCK_MONOTONIC, &slept);
        corelane_wake_sleep(own, LONGEST_SLEEP_MS);
        clock_gettime(CLOCK_MONOTONIC, &woken);
        if (woken.tv_sec - slept.tv_sec >= LONGEST_SLEEP_MS / 1000) {
          dump("no wake came", &layout, sent, received);
          return 1;
        }
      }
      corelane_wake_disarm(own);
      corelane_wake_drain(own);
    }
    /* Sometimes this side lets the other run dry. */
    if ((next_seed & 0xfffff) == 0) {
      usleep(200);
    }
  }

  clock_gettime(CLOCK_MONOTONIC, &end);
  refused = *corelane_ring_u64(&layout.ingress, layout.ingress.refused_full);
  CHECK(refused == full);
  CHECK(*corelane_ring_u64(&layout.egress, layout.egress.popped) == records);
  CHECK(*corelane_ring_u64(&layout.ingress, layout.ingress.popped) == records);
  CHECK(*corelane_ring_u64(&layout.egress, layout.egress.pushed) == records);
  CHECK(*corelane_ring_u32(&layout.ingress, layout.ingress.corrupt) == 0);
  echoed = corelane_test_echo_join(&rust_sleeps);
  CHECK(echoed == (int64_t)records);
  CHECK(corelane_test_echo_join(NULL) == CORELANE_NOT_FOUND);
  CHECK(records < 100000 || (sleeps > 0 && rust_sleeps > 0 && full > 0));
  printf("c torture: %" PRIu64 " records, %" PRIu64 " MB each way, ring %" PRIu64 ", full %" PRIu64 ", sleeps here %" PRIu64
         ", in Rust %" PRIu64 ", wakes sent %" PRIu64 ", %.1f s\n",
         records, bytes >> 20, capacity, full, sleeps, rust_sleeps, wakes,
         (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9);
  return checks_failed == 0 ? 0 : 1;
}
