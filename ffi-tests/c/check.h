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
      checks_failed++;                                                                                         \
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

/* The sum of a family's samples whose line contains `label`, from the router's Prometheus text. */
static inline uint64_t figure(corelane_router router, const char *family, const char *label) {
  static char text[1 << 20];
  uint64_t total = 0;
  char *line, *rest;
  NEED(corelane_prometheus(router, text, sizeof text) > 0);
  for (line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
    size_t length = strlen(family);
    if (strncmp(line, family, length) == 0 && (line[length] == '{' || line[length] == ' ') && strstr(line, label) != NULL) {
      total += strtoull(strrchr(line, ' ') + 1, NULL, 10);
    }
  }
  return total;
}

#endif
