/* The log: one line for each event, on stderr. If nobody reads it, or it is closed, lines are dropped and counted. */

#include "server.h"
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A pipe that is writable takes this many bytes without blocking (PIPE_BUF). */
#define LINE_BYTES 4096

static atomic_uint_fast64_t dropped;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

uint64_t log_dropped(void) {
    return atomic_load(&dropped);
}

static void write_line(const struct text *line) {
    pthread_mutex_lock(&writing);
    struct pollfd target = {.fd = STDERR_FILENO, .events = POLLOUT};
    bool has_room = poll(&target, 1, 0) == 1 && target.revents == POLLOUT;
    size_t length = line->length < LINE_BYTES ? line->length : LINE_BYTES;
    if (!has_room || write(STDERR_FILENO, line->data, length) < 0) atomic_fetch_add(&dropped, 1);
    pthread_mutex_unlock(&writing);
}

/* Whether a value is quoted in the text format. */
static bool is_quoted(const char *name) {
    return !strcmp(name, "id") || !strcmp(name, "reason");
}

void log_event(enum level level, const char *message, ...) {
    static const char *const NAMES[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
    if (level > options.log) return;
    struct timespec time;
    struct tm parts;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &time);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&time.tv_sec, &parts));

    struct text line = {0};
    const char *form =
        options.json_log ? "{\"timestamp\":\"%s.%06ldZ\",\"level\":\"%s\",\"message\":" : "%s.%06ldZ %5s ";
    text_format(&line, form, stamp, time.tv_nsec / 1000, NAMES[level]);
    if (options.json_log)
        text_quote(&line, message);
    else
        text_format(&line, "%s", message);
    va_list pairs;
    va_start(pairs, message);
    for (const char *name; (name = va_arg(pairs, const char *));) {
        const char *value = va_arg(pairs, const char *);
        text_format(&line, options.json_log ? ",\"%s\":" : " %s=", name);
        if (options.json_log || is_quoted(name))
            text_quote(&line, value);
        else
            text_format(&line, "%s", value);
    }
    va_end(pairs);
    text_format(&line, options.json_log ? "}\n" : "\n");
    write_line(&line);
    text_free(&line);
}
