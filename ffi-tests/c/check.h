/* Shared by the C programs: checks that count failures, checks that end the program, and the router's figures. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "corelane.h"

static int checks_failed;

#define CHECK(condition)                                                                                       \
  do {                                                                                                         \
    if (!(condition)) {                                                                                        \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                            \
      __atomic_add_fetch(&checks_failed, 1, __ATOMIC_RELAXED);                                                 \
    }                                                                                                          \
  } while (0)

/* For conditions without which the following calls could only fail. */
#define NEED(condition)                                                                                        \
  do {                                                                                                         \
    if (!(condition)) {                                                                                        \
      fprintf(stderr, "%s:%d: %s does not hold; given up\n", __FILE__, __LINE__, #condition);                  \
      exit(1);                                                                                                 \
    }                                                                                                          \
  } while (0)

/* Checks what a call returns, and says what it returned instead. */
#define IS(call, expected)                                                                                     \
  do {                                                                                                         \
    const int32_t is_status = (call);                                                                          \
    if (is_status != (expected)) {                                                                             \
      fprintf(stderr, "%s:%d: %s is %d (%s), not %s\n", __FILE__, __LINE__, #call, is_status,                  \
              corelane_status_name(is_status), #expected);                                                     \
      __atomic_add_fetch(&checks_failed, 1, __ATOMIC_RELAXED);                                                 \
    }                                                                                                          \
  } while (0)

/* The router's Prometheus text. */
static inline corelane_text figures_of(corelane_router router) {
  corelane_text text = CORELANE_TEXT_INIT;
  NEED(corelane_router_prometheus(router, &text) == CORELANE_OK);
  NEED(text.data != NULL && strlen(text.data) == text.length);
  return text;
}

/* The sum of a family's samples whose line contains `label`, from the router's Prometheus text. */
static inline uint64_t figure(corelane_router router, const char *family, const char *label) {
  corelane_text text = figures_of(router);
  const size_t length = strlen(family);
  uint64_t total = 0;
  char *line, *next;
  for (line = text.data; line != NULL && *line != 0; line = next) {
    next = strchr(line, '\n');
    if (next != NULL) {
      *next++ = 0;
    }
    if (strncmp(line, family, length) == 0 && (line[length] == '{' || line[length] == ' ') && strstr(line, label) != NULL) {
      total += strtoull(strrchr(line, ' ') + 1, NULL, 10);
    }
  }
  NEED(corelane_text_free(&text) == CORELANE_OK);
  return total;
}

#endif
