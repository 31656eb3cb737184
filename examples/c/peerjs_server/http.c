/* The three pages of npm's server with their CORS headers, and the check of a request for a WebSocket. */

#include "server.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DESCRIPTION                                                                                                        \
    "{\"name\":\"PeerJS Server\",\"description\":\"A server side element to broker connections between PeerJS clients.\"," \
    "\"website\":\"https://peerjs.com/\"}"

/* Seconds after which a client may come again to a server that cannot take it now. */
#define RETRY_AFTER "3"

bool header(struct lws *wsi, enum lws_token_indexes name, char *into, size_t size) {
    *into = 0;
    return lws_hdr_total_length(wsi, name) > 0 && lws_hdr_copy(wsi, into, (int)size, name) > 0;
}

static bool add(struct lws *wsi, const char *name, const char *value, unsigned char **at, unsigned char *end) {
    return !lws_add_http_header_by_name(wsi, (const unsigned char *)name, (const unsigned char *)value,
                                        (int)strlen(value), at, end);
}

static bool is_allowed(const char *origin) {
    for (size_t at = 0; at < options.origin_count; at++)
        if (!strcmp(options.origins[at], origin)) return true;
    return !options.origin_count;
}

/* A page may read the answer if its origin is allowed. */
static bool allow_origin(struct lws *wsi, unsigned char **at, unsigned char *end) {
    char origin[512];
    if (!add(wsi, "vary:", "Origin", at, end)) return false;
    if (!header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof origin) || !is_allowed(origin)) return true;
    return add(wsi, "access-control-allow-origin:", origin, at, end);
}

/* Sends an answer. Returns 0, or -1 if the socket must be closed. */
static int send_answer(struct lws *wsi, unsigned status, const char *type, const char *body, size_t length,
                       const char *name, const char *value) {
    unsigned char head[LWS_PRE + 4096], *at = head + LWS_PRE, *end = head + sizeof head;
    char *uri;
    int uri_length;
    bool is_head = lws_http_get_uri_and_method(wsi, &uri, &uri_length) == LWSHUMETH_HEAD;
    if (lws_add_http_common_headers(wsi, status, type, length, &at, end)) return -1;
    if (name && !add(wsi, name, value, &at, end)) return -1;
    if (!allow_origin(wsi, &at, end)) return -1;
    if (lws_finalize_write_http_header(wsi, head + LWS_PRE, &at, end)) return -1;
    if (length && !is_head) {
        unsigned char *copy = need(malloc(LWS_PRE + length));
        memcpy(copy + LWS_PRE, body, length);
        int written = lws_write(wsi, copy + LWS_PRE, length, LWS_WRITE_HTTP_FINAL);
        free(copy);
        if (written < 0) return -1;
    }
    return 0;
}

int answer(struct lws *wsi, unsigned status, const char *type, const char *body, size_t length, const char *name,
           const char *value) {
    int failed = send_answer(wsi, status, type, body, length, name, value);
    return failed || lws_http_transaction_completed(wsi) ? -1 : 0;
}

int answer_plain(struct lws *wsi, unsigned status, const char *body) {
    return answer(wsi, status, PLAIN_TYPE, body, strlen(body), NULL, NULL);
}

static int preflight(struct lws *wsi) {
    unsigned char head[LWS_PRE + 4096], *at = head + LWS_PRE, *end = head + sizeof head;
    char names[1024];
    if (lws_add_http_common_headers(wsi, 204, NULL, 0, &at, end) ||
        !add(wsi, "access-control-allow-methods:", "GET,HEAD,PUT,PATCH,POST,DELETE", &at, end) ||
        (header(wsi, WSI_TOKEN_HTTP_AC_REQUEST_HEADERS, names, sizeof names) &&
         !add(wsi, "access-control-allow-headers:", names, &at, end)) ||
        !allow_origin(wsi, &at, end) || lws_finalize_write_http_header(wsi, head + LWS_PRE, &at, end))
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int page(struct lws *wsi, const char *rest) {
    char name[16];
    const char *slash = strchr(rest, '/');
    if (!*rest) return answer(wsi, 200, JSON_TYPE, DESCRIPTION, strlen(DESCRIPTION), NULL, NULL);
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : "");
    size_t length = strlen(name);
    if (length && name[length - 1] == '/') name[length - 1] = 0;
    if (!strcasecmp(name, "id")) {
        char id[37];
        registry_fresh_id(id);
        return answer(wsi, 200, HTML_TYPE, id, strlen(id), NULL, NULL);
    }
    if (!strcasecmp(name, "peers")) {
        if (!options.allow_discovery) return answer_plain(wsi, 401, "Unauthorized");
        struct text ids = {0};
        cluster_ids(&ids);
        int result = answer(wsi, 200, JSON_TYPE, ids.data, ids.length, NULL, NULL);
        text_free(&ids);
        return result;
    }
    return answer_plain(wsi, 404, "Not Found");
}

int http_page(struct lws *wsi, const char *path) {
    char *uri;
    int length, method = lws_http_get_uri_and_method(wsi, &uri, &length);
    size_t base = strlen(options.base) - 1;
    if (strncasecmp(path, options.base, base) || (path[base] && path[base] != '/'))
        return answer_plain(wsi, 404, "Not Found");
    if (method == LWSHUMETH_OPTIONS) return preflight(wsi);
    if (method != LWSHUMETH_GET && method != LWSHUMETH_HEAD) return answer_plain(wsi, 404, "Not Found");
    return page(wsi, path + base + (path[base] == '/'));
}

/* Whether the header Connection lists Upgrade. Without it a proxy may not forward the upgrade. */
static bool says_upgrade(struct lws *wsi) {
    char value[256], *rest = value, *word;
    if (!header(wsi, WSI_TOKEN_CONNECTION, value, sizeof value)) return false;
    while ((word = strsep(&rest, ", \t")))
        if (!strcasecmp(word, "upgrade")) return true;
    return false;
}

/* The caller of this callback completes the transaction itself. */
int http_upgrades(struct lws *wsi, struct visitor *visitor) {
    char path[300], value[512], *uri = NULL;
    int length = 0;
    bool is_get = lws_http_get_uri_and_method(wsi, &uri, &length) == LWSHUMETH_GET;
    size_t base = strlen(options.base);
    snprintf(path, sizeof path, "%.*s", length, uri ? uri : "");
    bool is_here = !strncmp(path, options.base, base) && !strcmp(path + base, "peerjs");
    if (options.proxied && header(wsi, WSI_TOKEN_X_FORWARDED_FOR, value, sizeof value)) {
        const char *last = strrchr(value, ',') ? strrchr(value, ',') + 1 : value;
        while (*last == ' ')
            last++;
        snprintf(visitor->address, sizeof visitor->address, "%.*s", (int)strcspn(last, " "), last);
    }
    if (!is_get || !is_here || !says_upgrade(wsi) || !header(wsi, WSI_TOKEN_HTTP, value, sizeof value) ||
        !strstr(value, "1.1") || !header(wsi, WSI_TOKEN_UPGRADE, value, sizeof value) ||
        strcasecmp(value, "websocket") || !header(wsi, WSI_TOKEN_VERSION, value, sizeof value) || strcmp(value, "13") ||
        !header(wsi, WSI_TOKEN_KEY, value, sizeof value) || strlen(value) != 24) {
        refuse(BAD_UPGRADE, visitor->address, "");
        int failed = send_answer(wsi, 400, PLAIN_TYPE, "Bad Request", 11, "sec-websocket-version:", "13");
        return failed ? -1 : 1;
    }
    /* A client that is not a page sends no Origin header, and is allowed. */
    bool has_origin = lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) > 0;
    if (has_origin && (!header(wsi, WSI_TOKEN_ORIGIN, value, sizeof value) || !is_allowed(value))) {
        refuse(ORIGIN, visitor->address, "");
        const char *text = "pages of this origin cannot connect; allow the origin with --cors";
        return send_answer(wsi, 403, PLAIN_TYPE, text, strlen(text), NULL, NULL) ? -1 : 1;
    }
    if (!visitor_counts(visitor)) {
        const char *text = "too many connections from this address; close some of them";
        return send_answer(wsi, 429, PLAIN_TYPE, text, strlen(text), NULL, NULL) ? -1 : 1;
    }
    enum refusal reason;
    const char *text = cluster_refuses(&reason);
    if (text) {
        refuse(reason, visitor->address, "");
        return send_answer(wsi, 503, PLAIN_TYPE, text, strlen(text), "retry-after:", RETRY_AFTER) ? -1 : 1;
    }
    return 0;
}
