/* Tests the layout and both directions of waking of a routed port from outside the library. Clients send each other
 * checksummed messages of random sizes through the rings of their port, which are pushed and polled here without a call
 * into the library. Both sides sleep: workers on a futex, this side on the port's eventfd. The rings are so small that
 * they fill all the time. A lost wake is reported with every position instead of a hang. At the end the router's
 * figures are compared with the counts of this program.
 *
 * torture [RECORDS [RING_BYTES [WORKERS]]] */
#define _GNU_SOURCE
#include "corelane_inline.h"

#include "check.h"
#include <inttypes.h>

#define CLIENTS 5
#define LONGEST_SLEEP_MS 20000
#define MOST_ON_THE_WAY 800 /* more than the rings hold, less than a client's credit */
#define NUMBER_AT 9 /* distance from the key "number" to its value */

static uint64_t next_random(uint64_t *state) { /* xorshift64* */
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static void put_hex(char *place, uint64_t value) {
  int at;
  for (at = 15; at >= 0; at--, value >>= 4) {
    place[at] = "0123456789abcdef"[value & 15];
  }
}

static uint64_t get_hex(const char *place) {
  uint64_t value = 0;
  int at;
  for (at = 0; at < 16; at++) {
    value = value << 4 | (uint64_t)(place[at] <= '9' ? place[at] - '0' : place[at] - 'a' + 10);
  }
  return value;
}

static uint64_t sum_of(uint64_t number, const char *data, size_t length) {
  uint64_t sum = number * UINT64_C(0xd1342543de82ef95) + length, word;
  for (; length >= 8; data += 8, length -= 8) {
    memcpy(&word, data, 8);
    sum = (sum ^ word) * UINT64_C(0x100000001b3);
  }
  for (; length > 0; data++, length--) {
    sum = (sum ^ (unsigned char)*data) * UINT64_C(0x100000001b3);
  }
  return sum;
}

static const char head[] = "{\"type\":\"offer\",\"to\":\"client-?\",\"number\":\"0123456789abcdef\",\"sum\":\"0123456789abcdef\",\"data\":\"";
static const char tail[] = "\"}";

/* Writes a message with `length` bytes of data. All bytes are determined by number and seed. */
static void fill(char *place, uint32_t length, unsigned to, uint64_t number, uint64_t seed) {
  char *data = place + sizeof head - 1;
  uint32_t at;
  memcpy(place, head, sizeof head - 1);
  for (at = 0; at < length; at++, seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1) {
    data[at] = (char)('a' + (seed >> 59) % 26);
  }
  memcpy(data + length, tail, sizeof tail - 1);
  *strchr(place, '?') = (char)('0' + to);
  put_hex(strstr(place, "number") + NUMBER_AT, number);
  put_hex(strstr(place, "sum") + 6, sum_of(number, data, length));
}

/* Computes the checksum over the data that arrived. Returns the message's number, or all ones if the message is
 * damaged. */
static uint64_t check(const char *text, size_t length) {
  const char *number = memmem(text, length, "number", 6), *sum = memmem(text, length, "\"sum\"", 5);
  const char *data = memmem(text, length, "\"data\"", 6), *end;
  if (number == NULL || sum == NULL || data == NULL) {
    return UINT64_MAX;
  }
  data += 8;
  end = memchr(data, '"', (size_t)(text + length - data));
  if (end == NULL || get_hex(sum + 7) != sum_of(get_hex(number + NUMBER_AT), data, (size_t)(end - data))) {
    return UINT64_MAX;
  }
  return get_hex(number + NUMBER_AT);
}

/* Varies this side's timing, so that the other side's publications fall between this side's steps. Without it the two
 * sides run in lockstep. */
static void jitter(void) {
  static uint64_t state = 88172645463325252;
  uint64_t random = next_random(&state);
  volatile uint64_t turns = (random & 3) == 0 ? (random >> 8) & 0x7ff : 0;
  while (turns > 0) {
    turns--;
  }
}

static void dump(const char *why, const corelane_inline *port, uint64_t sent, uint64_t received) {
  uint32_t worker, at;
  fprintf(stderr, "%s: sent %" PRIu64 ", received %" PRIu64 ", port word %u\n", why, sent, received,
          *(volatile uint32_t *)port->layout.port_wake);
  for (worker = 0; worker < port->workers; worker++) {
    const corelane_lane *lane = &port->lanes[worker];
    const corelane_ring *rings[2];
    rings[0] = &lane->to.ring;
    rings[1] = &lane->from.ring;
    fprintf(stderr, " worker %u, its word %u\n", worker, *(volatile uint32_t *)lane->to.consumer.word);
    for (at = 0; at < 2; at++) {
      const corelane_ring *ring = rings[at];
      fprintf(stderr, "  %s: tail %" PRIu64 " head %" PRIu64 " need_space %u closed %u corrupt %u\n", at == 0 ? "to" : "from",
              *corelane_ring_u64(ring, ring->tail), *corelane_ring_u64(ring, ring->head),
              *corelane_ring_u32(ring, ring->need_space), *corelane_ring_u32(ring, ring->closed),
              *corelane_ring_u32(ring, ring->corrupt));
    }
  }
}

static corelane_client clients[CLIENTS];
static uint64_t expected[CLIENTS], sent_by[CLIENTS];
static uint32_t unacknowledged[CLIENTS], unacknowledged_bytes[CLIENTS];

int main(int argc, char **argv) {
  const uint64_t records = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
  const char *ring_bytes = argc > 2 ? argv[2] : "8192", *workers = argc > 3 ? argv[3] : "1";
  uint64_t sent = 0, received = 0, sleeps = 0, full = 0, bytes = 0, random_state = UINT64_C(0x9e3779b97f4a7c15), parks;
  corelane_error error;
  corelane_router router;
  corelane_port handle;
  corelane_inline port;
  corelane_lane lanes[4];
  static corelane_event events[64];
  struct timespec start, end;
  char text[256];
  unsigned at, gone = 0;

  alarm(500);
  memset(&error, 0, sizeof error);
  error.size = sizeof error;
  snprintf(text, sizeof text, "workers=%s\npin=off\nidle=park\nmax_ports=1\nmax_clients=10\nmax_message=1000\nring_bytes=%s\n",
           workers, ring_bytes);
  if (corelane_start(text, strlen(text), &router, &error) != CORELANE_OK) {
    fprintf(stderr, "start: %s\n", error.message);
    return 1;
  }
  NEED(corelane_port_open(router, &handle, NULL) == CORELANE_OK);
  NEED(corelane_inline_open(&port, handle, lanes, 4) == CORELANE_OK);
  for (at = 0; at < CLIENTS; at++) {
    snprintf(text, sizeof text, "client-%u", at);
    NEED(corelane_inline_connect(&port, text, 8, "generic", 7, NULL, 0, at, &clients[at], &error) == CORELANE_OK);
  }
  clock_gettime(CLOCK_MONOTONIC, &start);

  while (received < records) {
    bool stalled = false;
    uint64_t random = next_random(&random_state), burst = 1 + (random >> 40) % 64;
    int32_t count, one;

    for (; sent < records && sent - received < MOST_ON_THE_WAY && burst > 0; burst--) {
      uint32_t data = (random & 0x1f) == 0 ? (uint32_t)(random >> 8) % 800 : (uint32_t)(random >> 8) % 120;
      uint32_t length = (uint32_t)(sizeof head - 1 + sizeof tail - 1) + data;
      unsigned from = (unsigned)(random >> 60) % CLIENTS, to = (from + 1) % CLIENTS;
      unsigned char *place;
      int32_t status = corelane_inline_claim(&port, clients[from], length, sent_by[from], corelane_stamp(&port.layout), &place);
      if (status == CORELANE_FULL) {
        stalled = true;
        full++;
        break;
      }
      NEED(status == CORELANE_OK);
      fill((char *)place, data, to, sent_by[from] * CLIENTS + from, random);
      corelane_inline_commit(&port);
      sent_by[from]++;
      bytes += length;
      sent++;
      random = next_random(&random_state);
    }
    corelane_inline_publish(&port);

    count = corelane_inline_poll(&port, events, 64);
    NEED(count >= 0);
    for (one = 0; one < count; one++) {
      const corelane_event *event = &events[one];
      unsigned to = (unsigned)event->token, from = (to + CLIENTS - 1) % CLIENTS;
      if (event->kind != CORELANE_EVENT_MESSAGE || event->client.value != clients[to].value ||
          event->sender.value != clients[from].value || event->correlation != expected[from] ||
          check((const char *)event->bytes, event->length) != expected[from] * CLIENTS + from) {
        dump("a message is not as it was sent", &port, sent, received);
        return 1;
      }
      expected[from]++;
      unacknowledged[to]++;
      unacknowledged_bytes[to] += (uint32_t)event->length;
      received++;
    }
    corelane_inline_release(&port);
    for (at = 0; at < CLIENTS; at++) {
      if (unacknowledged[at] > 100) {
        NEED(corelane_acknowledge(handle, clients[at], unacknowledged[at], unacknowledged_bytes[at]) == CORELANE_OK);
        unacknowledged[at] = unacknowledged_bytes[at] = 0;
      }
    }

    if (count == 0 && (stalled || sent == records || sent - received >= MOST_ON_THE_WAY)) {
      struct timespec slept, woken;
      jitter();
      if (corelane_inline_arm(&port) == CORELANE_OK) {
        jitter();
        sleeps++;
        clock_gettime(CLOCK_MONOTONIC, &slept);
        corelane_wake_sleep(corelane_port_wake_of(&port.layout), LONGEST_SLEEP_MS);
        clock_gettime(CLOCK_MONOTONIC, &woken);
        if (woken.tv_sec - slept.tv_sec >= LONGEST_SLEEP_MS / 1000) {
          dump("no wake came", &port, sent, received);
          return 1;
        }
      }
    }
    /* Sometimes pause, so that the other side runs out of records. */
    if ((random & 0xfffff) == 0) {
      usleep(200);
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &end);

  for (at = 0; at < CLIENTS; at++) {
    NEED(corelane_inline_disconnect(&port, clients[at]) == 0);
    CHECK(corelane_inline_submit(&port, clients[at], "{}", 2, 0) == CORELANE_STALE);
  }
  while (gone < CLIENTS) {
    int32_t count = corelane_inline_poll(&port, events, 2), one;
    NEED(count >= 0);
    for (one = 0; one < count; one++) {
      NEED(events[one].kind == CORELANE_EVENT_CLOSED && events[one].client.value == clients[events[one].token].value);
      gone++;
    }
    if (count == 0 && corelane_inline_arm(&port) == CORELANE_OK) {
      corelane_wake_sleep(corelane_port_wake_of(&port.layout), LONGEST_SLEEP_MS);
    }
  }
  corelane_inline_release(&port);
  parks = figure(router, "corelane_worker_parks_total", "");
  CHECK(figure(router, "corelane_messages_submitted_total", "") == records + full + CLIENTS);
  CHECK(figure(router, "corelane_messages_refused_total", "ring_full") == full);
  CHECK(figure(router, "corelane_messages_refused_total", "stale_client") == CLIENTS);
  CHECK(figure(router, "corelane_messages_delivered_total", "offer") == records);
  CHECK(figure(router, "corelane_deliveries_total", "") == records + CLIENTS);
  CHECK(figure(router, "corelane_messages_in_flight", "") == 0 && figure(router, "corelane_deliveries_queued", "") == 0);
  CHECK(records < 100000 || (sleeps > 0 && parks > 0 && full > 0));

  /* After a stop every message is refused as closed, and polls return CORELANE_CLOSED. */
  CHECK(corelane_stop(router, UINT64_C(5000000000)) == CORELANE_OK);
  CHECK(corelane_inline_poll(&port, events, 2) == CORELANE_CLOSED);
  CHECK(corelane_port_release(handle) == CORELANE_OK && corelane_router_release(router) == CORELANE_OK);
  printf("c torture: %" PRIu64 " records, %" PRIu64 " MB each way, rings of %s, full %" PRIu64 ", sleeps here %" PRIu64
         ", of the workers %" PRIu64 ", %.1f s\n",
         records, bytes >> 20, ring_bytes, full, sleeps, parks,
         (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9);
  return checks_failed == 0 ? 0 : 1;
}
