/* What both C programs share: checks that are counted, and such as end the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
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

/* The calls behind a failure could only fail, too. */
#define NEED(condition)                                                                                        \
  do {                                                                                                         \
    if (!(condition)) {                                                                                        \
      fprintf(stderr, "%s:%d: %s does not hold; given up\n", __FILE__, __LINE__, #condition);                  \
      exit(1);                                                                                                 \
    }                                                                                                          \
  } while (0)

#endif
