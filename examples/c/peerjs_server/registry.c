/* The ids in use and their owners. The network threads share them under a lock, which is taken when a client connects
 * or disconnects, and by the pages, but never per message. */

#include "server.h"
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* How many clients that have left are remembered, so that a reconnect is recognised. */
#define REMEMBERED 65536

struct holder {
    char id[NAME_BYTES + 1];
    char *token;
    char address[ADDRESS_BYTES];
    uint64_t since_ms;
    struct owner owner;
    struct holder *next, *previous; /* in the order of the connects */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *by_id; /* a balanced tree: peers choose the ids, so a hash table would need a keyed hash */
static struct holder *oldest, *newest;
static size_t count;
static uint64_t left[REMEMBERED];

static int compare(const void *one, const void *other) {
    return strcmp(((const struct holder *)one)->id, ((const struct holder *)other)->id);
}

static struct holder *find(const char *id) {
    struct holder key;
    snprintf(key.id, sizeof key.id, "%s", id);
    struct holder **found = tfind(&key, &by_id, compare);
    return found ? *found : NULL;
}

/* A number for a client that has left. Two clients with the same number only confuse a figure. */
static uint64_t mark(const char *id, const char *token) {
    uint64_t hash = 14695981039346656037u;
    for (const char *at = id; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    hash = (hash ^ 0xff) * 1099511628211u;
    for (const char *at = token; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    return hash | 1;
}

enum entered registry_enter(const char *id, const char *token, const char *address, struct owner owner,
                            struct owner *before) {
    enum entered entered;
    pthread_mutex_lock(&lock);
    struct holder *entry = find(id);
    if (entry) {
        entered = strcmp(entry->token, token) ? ENTERED_TAKEN : ENTERED_AFTER;
        if (entered == ENTERED_AFTER) {
            *before = entry->owner;
            entry->owner = owner;
        }
    } else if (count >= options.concurrent_limit) {
        entered = ENTERED_FULL;
    } else {
        uint64_t number = mark(id, token), *place = &left[number % REMEMBERED];
        entered = *place == number ? ENTERED_AGAIN : ENTERED_NEW;
        entry = need(calloc(1, sizeof *entry));
        snprintf(entry->id, sizeof entry->id, "%s", id);
        entry->token = need(strdup(token));
        entry->owner = owner;
        entry->previous = newest;
        *(newest ? &newest->next : &oldest) = entry;
        newest = entry;
        need(tsearch(entry, &by_id, compare));
        count++;
    }
    if (entered != ENTERED_TAKEN && entered != ENTERED_FULL) {
        snprintf(entry->address, sizeof entry->address, "%s", address);
        entry->since_ms = unix_ms();
    }
    pthread_mutex_unlock(&lock);
    watch_look();
    return entered;
}

void registry_leave(const char *id, struct owner owner) {
    pthread_mutex_lock(&lock);
    struct holder *entry = find(id);
    if (entry && entry->owner.thread == owner.thread && entry->owner.number == owner.number) {
        uint64_t number = mark(id, entry->token);
        left[number % REMEMBERED] = number;
        *(entry->previous ? &entry->previous->next : &oldest) = entry->next;
        *(entry->next ? &entry->next->previous : &newest) = entry->previous;
        tdelete(entry, &by_id, compare);
        count--;
        free(entry->token);
        free(entry);
    }
    pthread_mutex_unlock(&lock);
    watch_look();
}

size_t registry_count(void) {
    pthread_mutex_lock(&lock);
    size_t now = count;
    pthread_mutex_unlock(&lock);
    return now;
}

bool registry_has(const char *id) {
    pthread_mutex_lock(&lock);
    bool has = find(id);
    pthread_mutex_unlock(&lock);
    return has;
}

void registry_ids(struct text *into) {
    pthread_mutex_lock(&lock);
    text_add(into, "[", 1);
    for (struct holder *entry = oldest; entry; entry = entry->next) {
        if (entry->previous) text_add(into, ",", 1);
        text_quote(into, entry->id);
    }
    text_add(into, "]", 1);
    pthread_mutex_unlock(&lock);
}

void registry_peers(struct text *into, const char *id, size_t limit) {
    pthread_mutex_lock(&lock);
    text_format(into, "{\"total\":%zu,\"peers\":[", count);
    struct holder *entry = id ? find(id) : newest;
    for (size_t shown = 0; entry && shown < limit; entry = id ? NULL : entry->previous, shown++) {
        text_add(into, shown ? ",{\"id\":" : "{\"id\":", shown ? 7 : 6);
        text_quote(into, entry->id);
        text_add(into, ",\"address\":", 11);
        text_quote(into, entry->address);
        text_format(into, ",\"since_milliseconds\":%llu}", (unsigned long long)entry->since_ms);
    }
    text_add(into, "]}", 2);
    pthread_mutex_unlock(&lock);
}

void registry_fresh_id(char id[37]) {
    uint32_t n[4];
    do {
        /* Cannot fail: such a small request is never interrupted. */
        if (getrandom(n, sizeof n, 0) != sizeof n) abort();
        snprintf(id, 37, "%08x-%04x-4%03x-%04x-%04x%08x", n[0], n[1] >> 16, n[1] & 0xfff,
                 0x8000 | (n[2] >> 16 & 0x3fff), n[2] & 0xffff, n[3]);
        pthread_mutex_lock(&lock);
        bool is_taken = find(id);
        pthread_mutex_unlock(&lock);
        if (!is_taken) return;
    } while (true);
}
