/* The monitor's pages, on a thread of their own: health, readiness, figures for Prometheus, the report and its parts,
 * and the two addresses that change something. An unknown parameter or value is refused with the list of the allowed
 * ones. */

#include "server.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_BYTES 4096

struct corelane_monitor monitor;

static struct listener listener;
static struct lws_context *context;
static pthread_t handle;
static atomic_bool is_over;

/* Addresses of the parts of the report, and the part's name in the report. */
static const char *const PARTS[][2] = {
    {"messages", "messages"},       {"types", "types"},
    {"protocols", "protocols"},     {"applications", "applications"},
    {"clients", "clients"},         {"slow", "slow_messages"},
    {"connections", "connections"}, {"system", "system"},
    {"routing", "routing"},         {"alerts", "alerts"},
    {"custom", "custom"},
};
static const struct {
    const char *name;
    uint32_t format;
    const char *type;
} FORMATS[] = {{"html", CORELANE_REPORT_HTML, HTML_TYPE},
               {"text", CORELANE_REPORT_TEXT, PLAIN_TYPE},
               {"json", CORELANE_REPORT_JSON, JSON_TYPE}};

/* Finds a member of a JSON object, which is well formed. Returns where its value begins, and writes its length. */
static const char *json_member(const char *object, const char *name, size_t *length) {
    int depth = 0;
    size_t name_length = strlen(name);
    const char *key = NULL, *value = NULL;
    for (const char *at = object; *at; at++) {
        if (*at == '"') {
            const char *start = at + 1;
            for (at++; *at != '"'; at++)
                at += *at == '\\';
            if (depth == 1 && !value)
                key = (size_t)(at - start) == name_length && !memcmp(start, name, name_length) ? start : NULL;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        }
        if (depth == 1 && key && !value && *at == ':') value = at + 1;
        if (value && at >= value && ((depth == 1 && *at == ',') || !depth)) {
            *length = (size_t)(at - value);
            return value;
        }
    }
    return NULL;
}

static int show_report(struct lws *wsi, uint32_t format, const char *type, const char *part) {
    corelane_text report = CORELANE_TEXT_INIT;
    if (corelane_monitor_report(monitor, format, &report) < 0) return answer_plain(wsi, 500, "no report");
    const char *shown = report.data;
    size_t length = report.length;
    if (part) shown = json_member(report.data, part, &length);
    int result = answer(wsi, 200, type, shown ? shown : "null", shown ? length : 4, NULL, NULL);
    corelane_text_free(&report);
    return result;
}

static int show_metrics(struct lws *wsi) {
    corelane_text figures = CORELANE_TEXT_INIT;
    struct text all = {0};
    if (corelane_monitor_report(monitor, CORELANE_REPORT_PROMETHEUS, &figures) < 0)
        return answer_plain(wsi, 500, "no figures");
    text_add(&all, figures.data, figures.length);
    text_format(
        &all,
        "# HELP peerjs_log_lines_dropped_total Log lines dropped.\n# TYPE peerjs_log_lines_dropped_total counter\n"
        "peerjs_log_lines_dropped_total %llu\n",
        (unsigned long long)log_dropped());
    int result = answer(wsi, 200, "text/plain; version=0.0.4; charset=utf-8", all.data, all.length, NULL, NULL);
    corelane_text_free(&figures);
    text_free(&all);
    return result;
}

/* -------------------------------------------------------------------------------------------------- parameters */

/* Reads the query's parameters: `names` are the allowed ones, up to a NULL. Returns false and a refusal otherwise. */
static bool read_parameters(struct lws *wsi, const char *const *names, char values[][256], struct text *refusal) {
    char pair[320];
    for (int at = 0; names[at]; at++)
        values[at][0] = 0;
    bool is_given[4] = {false};
    for (int fragment = 0; lws_hdr_copy_fragment(wsi, pair, sizeof pair, WSI_TOKEN_HTTP_URI_ARGS, fragment) > 0;
         fragment++) {
        size_t length = strcspn(pair, "=");
        int at = 0;
        while (names[at] && (strlen(names[at]) != length || strncmp(names[at], pair, length)))
            at++;
        if (!names[at]) {
            text_format(refusal, "unknown parameter %.*s; allowed: %s", (int)length, pair,
                        names[0] ? names[0] : "none");
            for (at = 1; names[0] && names[at]; at++)
                text_format(refusal, ", %s", names[at]);
            return false;
        }
        if (is_given[at]) {
            text_format(refusal, "%s is given twice; allowed: once", names[at]);
            return false;
        }
        is_given[at] = true;
        snprintf(values[at], 256, "%s", pair[length] ? pair + length + 1 : "");
    }
    return true;
}

static int refused(struct lws *wsi, struct text *refusal) {
    int result = answer(wsi, 400, PLAIN_TYPE, refusal->data, refusal->length, NULL, NULL);
    text_free(refusal);
    return result;
}

static int report_page(struct lws *wsi) {
    static const char *const NAMES[] = {"format", NULL};
    char values[1][256];
    struct text refusal = {0};
    if (!read_parameters(wsi, NAMES, values, &refusal)) return refused(wsi, &refusal);
    for (size_t at = 0; at < sizeof FORMATS / sizeof *FORMATS; at++)
        if (!strcmp(*values[0] ? values[0] : "html", FORMATS[at].name))
            return show_report(wsi, FORMATS[at].format, FORMATS[at].type, NULL);
    text_format(&refusal, "format = %s is not valid; allowed: html, text, json", values[0]);
    return refused(wsi, &refusal);
}

static int peers_page(struct lws *wsi) {
    static const char *const NAMES[] = {"id", "limit", NULL};
    char values[2][256], *end = values[1];
    struct text refusal = {0}, peers = {0};
    if (!read_parameters(wsi, NAMES, values, &refusal)) return refused(wsi, &refusal);
    unsigned long limit = *values[1] ? strtoul(values[1], &end, 10) : 1000;
    if (*end || limit < 1 || limit > 100000) {
        text_format(&refusal, "limit = %s is not valid; allowed: 1 to 100000 peers", values[1]);
        return refused(wsi, &refusal);
    }
    registry_peers(&peers, *values[0] ? values[0] : NULL, limit);
    int result = answer(wsi, 200, JSON_TYPE, peers.data, peers.length, NULL, NULL);
    text_free(&peers);
    return result;
}

/* The names of all histories, or one history. */
static int history_page(struct lws *wsi) {
    static const char *const NAMES[] = {"name", "span", NULL}, *const SPANS[] = {"minute", "hour", "day"};
    char values[2][256];
    struct text refusal = {0}, shown = {0};
    corelane_text history = CORELANE_TEXT_INIT;
    if (!read_parameters(wsi, NAMES, values, &refusal)) return refused(wsi, &refusal);
    uint32_t span = CORELANE_SPAN_MINUTE;
    while (*values[1] && span <= CORELANE_SPAN_DAY && strcmp(values[1], SPANS[span - 1]))
        span++;
    if (!*values[0] && *values[1]) {
        text_format(&refusal, "span needs name as well; allowed names: those that /api/history lists");
    } else if (span > CORELANE_SPAN_DAY) {
        text_format(&refusal, "span = %s is not valid; allowed: minute, hour, day", values[1]);
    } else if (!*values[0]) {
        if (corelane_monitor_history_names(monitor, &history) < 0) return answer_plain(wsi, 500, "no histories");
        text_format(&shown, "{\"names\":%s}", history.data);
    } else if (corelane_monitor_history(monitor, values[0], CORELANE_NUL_TERMINATED, span, &history) < 0) {
        text_format(&refusal, "name = %s is not valid; allowed: those that /api/history lists", values[0]);
    } else {
        text_add(&shown, history.data, history.length);
    }
    corelane_text_free(&history);
    if (refusal.length) return refused(wsi, &refusal);
    int result = answer(wsi, 200, JSON_TYPE, shown.data, shown.length, NULL, NULL);
    text_free(&shown);
    return result;
}

static int idle_page(struct lws *wsi) {
    static const char *const NAMES[] = {"longer_than_ms", NULL};
    char values[1][256], *end;
    struct text refusal = {0}, idle = {0};
    if (!read_parameters(wsi, NAMES, values, &refusal)) return refused(wsi, &refusal);
    unsigned long long longer = strtoull(values[0], &end, 10);
    if (!*values[0] || *end || *values[0] == '-' || longer > UINT64_MAX / 1000000) {
        text_format(&refusal, "longer_than_ms = %s is not valid; allowed: a whole number of milliseconds", values[0]);
        return refused(wsi, &refusal);
    }
    int32_t count = corelane_monitor_idle_clients(monitor, longer * 1000000, NULL, 0), shown = 0;
    corelane_client_stats *clients = need(calloc((size_t)(count > 0 ? count : 0) + 1, sizeof *clients));
    clients[0].size = sizeof *clients;
    if (count > 0) shown = corelane_monitor_idle_clients(monitor, longer * 1000000, clients, (size_t)count);
    text_format(&idle, "[");
    for (int32_t at = 0; at < shown && at < count; at++) {
        text_format(&idle, at ? ",{\"name\":" : "{\"name\":");
        text_quote(&idle, clients[at].name);
        text_format(&idle, ",\"idle_milliseconds\":%llu}", (unsigned long long)clients[at].idle_ms);
    }
    text_format(&idle, "]");
    free(clients);
    int result = answer(wsi, 200, JSON_TYPE, idle.data, idle.length, NULL, NULL);
    text_free(&idle);
    return result;
}

/* -------------------------------------------------------------------------------------------------- requests */

static int ready_page(struct lws *wsi) {
    if (atomic_load(&stopping)) return answer_plain(wsi, 503, "stopping");
    bool is_full = registry_count() >= options.concurrent_limit || is_crowded();
    return is_full ? answer_plain(wsi, 503, "the server is full") : answer_plain(wsi, 200, "ok");
}

static bool is_change(const char *path) {
    return !strcmp(path, "/api/reset") || !strcmp(path, "/api/set");
}

static int not_allowed(struct lws *wsi, const char *allowed) {
    return answer(wsi, 405, PLAIN_TYPE, "Method Not Allowed", 18, "allow:", allowed);
}

static int read_page(struct lws *wsi, const char *path) {
    static const char *const NONE[] = {NULL};
    struct text refusal = {0};
    if (!strcmp(path, "/healthz")) return answer_plain(wsi, 200, "ok");
    if (!strcmp(path, "/readyz")) return ready_page(wsi);
    if (!strcmp(path, "/metrics")) return show_metrics(wsi);
    if (is_change(path)) return not_allowed(wsi, "POST");
    if (!strcmp(path, "/api/report")) return report_page(wsi);
    if (!strcmp(path, "/api/peers")) return peers_page(wsi);
    if (!strcmp(path, "/api/history")) return history_page(wsi);
    if (!strcmp(path, "/api/clients/idle")) return idle_page(wsi);
    if (strncmp(path, "/api/", 5)) return answer_plain(wsi, 404, "Not Found");
    const char *part = !strcmp(path, "/api/stats") ? "" : NULL;
    for (size_t at = 0; at < sizeof PARTS / sizeof *PARTS; at++)
        if (!strcmp(path + 5, PARTS[at][0])) part = PARTS[at][1];
    if (!part) return answer_plain(wsi, 404, "Not Found");
    if (!read_parameters(wsi, NONE, NULL, &refusal)) return refused(wsi, &refusal);
    return show_report(wsi, CORELANE_REPORT_JSON, JSON_TYPE, *part ? part : NULL);
}

/* Whether the Host header is an address or a name of this monitor. If the name of a hostile page resolves to the
 * monitor's address, its requests have the monitor's origin, but their Host header has that name. */
static bool is_called_here(struct lws *wsi) {
    char host[256], name[256];
    struct in6_addr address;
    if (!header(wsi, WSI_TOKEN_HOST, host, sizeof host)) return false;
    if (*host == '[')
        snprintf(name, sizeof name, "%.*s", (int)strcspn(host + 1, "]"), host + 1);
    else
        snprintf(name, sizeof name, "%.*s", (int)strcspn(host, ":"), host);
    if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1) return true;
    size_t own = (size_t)(strrchr(options.monitor, ':') - options.monitor);
    return !strcasecmp(name, "localhost") || (options.monitor_host && !strcasecmp(name, options.monitor_host)) ||
           (strlen(name) == own && !strncasecmp(name, options.monitor, own));
}

/* Whether no page sends the request, or a page of this server. A browser would send the form of any page to an address
 * that only its own machine reaches, but it adds the page's origin to every POST. */
static bool is_from_here(struct lws *wsi) {
    char origin[512], host[256];
    if (lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) <= 0) return true;
    if (!header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof origin)) return false;
    const char *here = strstr(origin, "://");
    return here && header(wsi, WSI_TOKEN_HOST, host, sizeof host) && !strcasecmp(here + 3, host);
}

static void decode(char *text) {
    char *into = text;
    for (; *text; text++) {
        unsigned byte;
        if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1 && byte && text[2]) {
            *into++ = (char)byte;
            text += 2;
        } else {
            *into++ = *text == '+' ? ' ' : *text;
        }
    }
    *into = 0;
}

static int set(struct lws *wsi, char *form) {
    char *value = strchr(form, '=');
    corelane_error error = CORELANE_ERROR_INIT;
    struct text done = {0};
    if (!value || strchr(form, '&'))
        return answer_plain(wsi, 400, "the body is not one key=value; allowed: exactly one key=value");
    *value++ = 0;
    decode(form);
    decode(value);
    if (corelane_monitor_set(monitor, form, CORELANE_NUL_TERMINATED, value, CORELANE_NUL_TERMINATED, &error) < 0)
        return answer_plain(wsi, 400, error.message);
    text_format(&done, "%s = %s", form, value);
    int result = answer(wsi, 200, PLAIN_TYPE, done.data, done.length, NULL, NULL);
    text_free(&done);
    return result;
}

/* A request that changes something, with its whole body. */
static int change(struct lws *wsi, const char *path, struct text *body) {
    if (body->length > BODY_BYTES) return answer_plain(wsi, 413, "the body is too large; allowed: up to 4096 bytes");
    if (!is_called_here(wsi))
        return answer_plain(wsi, 403,
                            "the Host header is not a name of this monitor; add the name with --monitor_host");
    if (!is_from_here(wsi))
        return answer_plain(wsi, 403,
                            "pages of another origin cannot change settings; use a page of this monitor, or curl");
    if (!strcmp(path, "/api/reset")) {
        corelane_monitor_reset(monitor, NULL);
        return answer_plain(wsi, 200, "all figures are reset");
    }
    text_add(body, "", 0);
    return set(wsi, body->data);
}

static int respond(struct lws *wsi, const char *path, struct text *body) {
    char *uri, length[24];
    int uri_length, method = lws_http_get_uri_and_method(wsi, &uri, &uri_length);
    if (method == LWSHUMETH_GET || method == LWSHUMETH_HEAD) return read_page(wsi, path);
    if (method != LWSHUMETH_POST || !is_change(path)) return not_allowed(wsi, "GET, HEAD");
    bool has_body = header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length, sizeof length) && strcmp(length, "0");
    if (!has_body) return change(wsi, path, body);
    lws_set_timer_usecs(wsi, (lws_usec_t)options.socket_timeout * 1000); /* for the body, which follows */
    return 0;
}

static int on_request(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    struct visitor *visitor = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    char path[64], *uri = NULL;
    int uri_length = 0;
    switch (reason) {
    case LWS_CALLBACK_HTTP: text_free(&visitor->body); return respond(wsi, in, &visitor->body);
    case LWS_CALLBACK_HTTP_BODY:
        if (visitor->body.length <= BODY_BYTES) text_add(&visitor->body, in, length);
        return 0;
    case LWS_CALLBACK_TIMER: answer_plain(wsi, 408, "Request Timeout"); return -1;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        lws_set_timer_usecs(wsi, LWS_SET_TIMER_USEC_CANCEL);
        if (lws_http_get_uri_and_method(wsi, &uri, &uri_length) < 0) return -1;
        snprintf(path, sizeof path, "%.*s", uri_length, uri ? uri : "");
        return change(wsi, path, &visitor->body);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return -1;
    case LWS_CALLBACK_WSI_DESTROY:
        if (visitor) visitor_ends(visitor);
        return 0;
    default: return lws_callback_http_dummy(wsi, reason, user, in, length);
    }
}

static int on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    (void)wsi, (void)user, (void)in, (void)length;
    if (reason == LWS_CALLBACK_RAW_RX_FILE) listener_accept(&listener);
    return 0;
}

static const struct lws_protocols PROTOCOLS[] = {
    {.name = "monitor", .callback = on_request, .tx_packet_size = 1 << 20},
    {.name = "listener", .callback = on_listener},
    {0},
};

static void *run(void *given) {
    (void)given;
    while (!atomic_load(&is_over))
        lws_service(context, 0);
    lws_context_destroy(context);
    return NULL;
}

void watch_start(struct corelane_monitor of, const struct listener *opened) {
    struct lws_context_creation_info info = {0};
    monitor = of;
    if (opened->descriptor < 0) return;
    int seconds = (int)(options.socket_timeout + 999) / 1000;
    info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info.protocols = PROTOCOLS;
    info.timeout_secs = info.timeout_secs_ah_idle = (unsigned)seconds;
    info.keepalive_timeout = seconds;
    info.pt_serv_buf_size = 64 << 10;
    info.max_http_header_pool = 64;
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    listener = *opened;
    context = lws_create_context(&info);
    listener.vhost = context ? lws_create_vhost(context, &info) : NULL;
    lws_sock_file_fd_type watched = {.filefd = listener.descriptor};
    if (!listener.vhost ||
        !lws_adopt_descriptor_vhost(listener.vhost, LWS_ADOPT_RAW_FILE_DESC, watched, "listener", NULL) ||
        pthread_create(&handle, NULL, run, NULL))
        fail(1, "cannot start the monitor's thread");
}

void watch_stop(void) {
    if (!context) return;
    atomic_store(&is_over, true);
    lws_cancel_service(context);
    pthread_join(handle, NULL);
}
