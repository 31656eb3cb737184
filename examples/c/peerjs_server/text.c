/* Texts that grow, JSON strings, and the time. */

#include "server.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *need(void *memory) {
    if (!memory) {
        fputs("error: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static void reserve(struct text *text, size_t more) {
    size_t wanted = text->length + more + 1;
    if (wanted <= text->capacity) return;
    text->capacity = wanted < 2 * text->capacity ? 2 * text->capacity : wanted;
    text->data = need(realloc(text->data, text->capacity));
}

void text_add(struct text *text, const char *bytes, size_t length) {
    reserve(text, length);
    if (length) memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = 0;
}

void text_format(struct text *text, const char *format, ...) {
    va_list values, again;
    va_start(values, format);
    va_copy(again, values);
    int length = vsnprintf(NULL, 0, format, values);
    reserve(text, (size_t)length);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
    text->length += (size_t)length;
    va_end(again);
    va_end(values);
}

void text_quote(struct text *text, const char *value) {
    text_add(text, "\"", 1);
    for (; *value; value++) {
        unsigned char byte = (unsigned char)*value;
        if (byte == '"' || byte == '\\')
            text_format(text, "\\%c", byte);
        else if (byte == '\n')
            text_add(text, "\\n", 2);
        else if (byte < 0x20)
            text_format(text, "\\u%04x", byte);
        else
            text_add(text, value, 1);
    }
    text_add(text, "\"", 1);
}

void text_free(struct text *text) {
    free(text->data);
    *text = (struct text){0};
}

static uint64_t clock_ms(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

uint64_t now_ms(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t unix_ms(void) {
    return clock_ms(CLOCK_REALTIME);
}
