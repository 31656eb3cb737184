/* The command line: npm's options under their names, then the server's own. An invalid value is refused with the
 * option, the value and the allowed values, before any socket listens. */

#include "server.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options options = {.host = NULL,
                          .key = "peerjs",
                          .path = "/",
                          .monitor = "127.0.0.1:9090",
                          .port = 9000,
                          .expire_timeout = 5000,
                          .alive_timeout = 60000,
                          .concurrent_limit = 5000,
                          .socket_timeout = 10000,
                          .threads = 1,
                          .max_message = 1 << 20,
                          .drain_seconds = UINT64_MAX,
                          .cluster_local = true,
                          .report_format = CORELANE_REPORT_HTML,
                          .log = LEVEL_INFO};

enum kind { NUMBER, TEXT, FLAG, ORIGINS, ADDRESS, LEVEL, LOG_FORMAT, REPORT_FORMAT, SETTING, WITHOUT };

static const struct option {
    const char *name;
    char letter;
    enum kind kind;
    void *target;
    uint64_t minimum, maximum;
    const char *unit, *help;
} OPTIONS[] = {
    {"port", 'p', NUMBER, &options.port, 0, 65535, "", "Port to listen on; 0 for any free port (PORT, or 9000)"},
    {"host", 'H', TEXT, &options.host, 0, 0, "", "Address to listen on (all addresses)"},
    {"key", 'k', TEXT, &options.key, 0, 0, "", "Key that clients must send (peerjs)"},
    {"path", 0, TEXT, &options.path, 0, 0, "", "Base path of all addresses (PEERSERVER_PATH, or /)"},
    {"expire_timeout", 't', NUMBER, &options.expire_timeout, 1, 3600000, " milliseconds",
     "How long a message for an absent client is held (5000)"},
    {"alive_timeout", 0, NUMBER, &options.alive_timeout, 1, 86400000, " milliseconds",
     "Close a client after this time without any frame (60000)"},
    {"concurrent_limit", 'c', NUMBER, &options.concurrent_limit, 1, 1000000, " clients",
     "Most connected clients (5000)"},
    {"allow_discovery", 0, FLAG, &options.allow_discovery, 0, 0, "", "Show the list of clients to anyone"},
    {"proxied", 0, FLAG, &options.proxied, 0, 0, "", "Take a client's address from the last entry of X-Forwarded-For"},
    {"cors", 0, ORIGINS, NULL, 0, 0, "", "Origins whose pages may connect (any)"},
    {"sslkey", 0, TEXT, &options.ssl_key, 0, 0, "", "TLS: file of the private key (PEM)"},
    {"sslcert", 0, TEXT, &options.ssl_certificate, 0, 0, "", "TLS: file of the certificate chain (PEM)"},
    {"max_connections", 0, NUMBER, &options.max_connections, 1, 10000000, " sockets",
     "Most open sockets of any kind (twice --concurrent_limit plus 1000)"},
    {"max_per_address", 0, NUMBER, &options.max_per_address, 0, 1000000, " sockets",
     "Most open sockets of an address; 0 for no limit (0)"},
    {"socket_timeout", 0, NUMBER, &options.socket_timeout, 100, 3600000, " milliseconds",
     "Time for a request, and between two requests; in whole seconds (10000)"},
    {"drain_seconds", 0, NUMBER, &options.drain_seconds, 0, 3600, " seconds",
     "On SIGTERM, close the clients over this time, idle ones first; 0 for no drain (0, or 10 in a cluster)"},
    {"cluster", 0, TEXT, &options.cluster, 0, 0, "",
     "Serve as one of several machines: addresses of nats-servers, separated by commas"},
    {"cluster_name", 0, TEXT, &options.cluster_name, 0, 0, "", "Name of the cluster (corelane)"},
    {"machine", 0, TEXT, &options.machine, 0, 0, "", "Name of this machine (the host's name)"},
    {"cluster_credentials", 0, TEXT, &options.cluster_credentials, 0, 0, "",
     "File with the credentials for NATS; without it CLUSTER_USER and CLUSTER_PASSWORD count"},
    {"cluster_secret", 0, TEXT, &options.cluster_secret, 0, 0, "",
     "File with the secret that hides the clients' tokens from readers of NATS"},
    {"cluster_ca", 0, TEXT, &options.cluster_ca, 0, 0, "", "TLS to NATS: file of the certificates to trust (PEM)"},
    {"cluster_key", 0, TEXT, &options.cluster_key, 0, 0, "", "TLS to NATS: file of this machine's private key (PEM)"},
    {"cluster_cert", 0, TEXT, &options.cluster_cert, 0, 0, "", "TLS to NATS: file of its certificate chain (PEM)"},
    {"cluster_without", 0, WITHOUT, &options.cluster_local, 0, 0, "",
     "New clients while NATS is unreachable: local connects them for this machine alone, refuse answers 503 (local)"},
    {"log", 0, LEVEL, &options.log, 0, 0, "", "Log events of this level: off, error, warn, info, debug, trace (info)"},
    {"log_format", 0, LOG_FORMAT, &options.json_log, 0, 0, "", "Format of a log line: text or json (text)"},
    {"monitor", 0, ADDRESS, &options.monitor, 0, 0, "", "Address of the monitor, or off (127.0.0.1:9090)"},
    {"monitor_host", 0, TEXT, &options.monitor_host, 0, 0, "", "Further names of the monitor, separated by commas"},
    {"monitor_token", 0, TEXT, &options.monitor_token, 0, 0, "",
     "Token that the monitor needs (MONITOR_TOKEN, which other users cannot see); without one nothing can be changed"},
    {"monitor_tls", 0, FLAG, &options.monitor_tls, 0, 0, "", "Serve the monitor over HTTPS, with --sslkey and --sslcert"},
    {"report_file", 0, TEXT, &options.report_file, 0, 0, "", "Write the report to this file every report_interval_ms"},
    {"report_format", 0, REPORT_FORMAT, &options.report_format, 0, 0, "", "Its format: html, text or json (html)"},
    {"threads", 0, NUMBER, &options.threads, 1, MAX_THREADS, " threads", "Network threads (1)"},
    {"max_message", 0, NUMBER, &options.max_message, 1024, 8 << 20, " bytes",
     "Largest message that is routed (1048576)"},
    {"set", 0, SETTING, NULL, 0, 0, "", "KEY=VALUE: a key of the router's configuration"},
};

/* The router's configuration: pairs of key and value. A later value replaces an earlier one. */
static struct {
    char key[64], value[128];
    bool is_given;
} pairs[64];
static size_t pair_count;

_Noreturn void fail(int status, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, values);
    fputs("\n", stderr);
    va_end(values);
    exit(status);
}

static void set(const char *key, const char *value, bool is_given) {
    size_t at = 0;
    while (at < pair_count && strcmp(pairs[at].key, key))
        at++;
    if (at == sizeof pairs / sizeof *pairs) fail(2, "--set %s=%s: too many keys; allowed: up to %zu", key, value, at);
    if (at < pair_count && pairs[at].is_given && !is_given) return;
    pair_count += at == pair_count;
    pairs[at].is_given = is_given;
    snprintf(pairs[at].key, sizeof pairs[at].key, "%s", key);
    snprintf(pairs[at].value, sizeof pairs[at].value, "%s", value);
}

static void set_number(const char *key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    set(key, text, false);
}

/* A limit of the router: what --set says, or `otherwise`. */
static uint64_t given_number(const char *key, uint64_t otherwise) {
    for (size_t at = 0; at < pair_count; at++)
        if (!strcmp(pairs[at].key, key)) return strtoull(pairs[at].value, NULL, 10);
    return otherwise;
}

static _Noreturn void refuse_value(const char *name, const char *value, const char *allowed) {
    fail(2, "invalid value \"%s\" for --%s; allowed: %s", value, name, allowed);
}

static bool read_number(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *number) {
    char *end;
    if (!isdigit((unsigned char)*text) || strlen(text) > 19) return false;
    *number = strtoull(text, &end, 10);
    return !*end && *number >= minimum && *number <= maximum;
}

static int place(const char *value, const char *const *names) {
    for (int at = 0; names[at]; at++)
        if (!strcmp(names[at], value)) return at;
    return -1;
}

/* Normalises an origin to the form that browsers send: scheme, host, and the port unless it is the scheme's own. */
static char *read_origin(const char *value) {
    const char *host = strstr(value, "://");
    size_t end = strlen(value);
    if (!host || host == value || !host[3]) return NULL;
    if (value[end - 1] == '/' && value + end - 1 > host + 3) end--;
    if (strcspn(host + 3, "/?#@") < (size_t)(value + end - (host + 3))) return NULL;
    char *origin = need(strndup(value, end));
    for (char *at = origin; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    const char *own = !strncmp(origin, "https:", 6) ? ":443" : !strncmp(origin, "http:", 5) ? ":80" : "-";
    size_t length = strlen(own);
    if (end > length && !strcmp(origin + end - length, own)) origin[end - length] = 0;
    return origin;
}

static void apply(const struct option *option, const char *value) {
    static const char *const LEVELS[] = {"off", "error", "warn", "info", "debug", "trace", NULL};
    static const char *const LOG_FORMATS[] = {"text", "json", NULL};
    static const char *const REPORT_FORMATS[] = {"text", "json", "html", NULL};
    char allowed[128];
    uint64_t number;
    int found;
    switch (option->kind) {
    case NUMBER:
        if (!read_number(value, option->minimum, option->maximum, option->target)) {
            snprintf(allowed, sizeof allowed, "%llu to %llu%s", (unsigned long long)option->minimum,
                     (unsigned long long)option->maximum, option->unit);
            refuse_value(option->name, value, allowed);
        }
        break;
    case TEXT: *(const char **)option->target = value; break;
    case FLAG:
        if (strcmp(value, "true") && strcmp(value, "false")) refuse_value(option->name, value, "true, false");
        *(bool *)option->target = *value == 't';
        break;
    case ORIGINS:
        if (options.origin_count == MAX_ORIGINS) refuse_value(option->name, value, "up to 32 origins");
        if (!(options.origins[options.origin_count++] = read_origin(value)))
            refuse_value(option->name, value, "an origin such as https://app.example or http://localhost:8080");
        break;
    case ADDRESS: {
        const char *colon = strrchr(value, ':');
        if (strcmp(value, "off") && (!colon || colon == value || !read_number(colon + 1, 0, 65535, &number)))
            refuse_value(option->name, value,
                         "an address and a port such as 127.0.0.1:9090 or localhost:9090, or \"off\"");
        options.monitor = value;
        break;
    }
    case LEVEL:
        if ((found = place(value, LEVELS)) < 0)
            refuse_value(option->name, value, "off, error, warn, info, debug, trace");
        options.log = (enum level)found;
        break;
    case LOG_FORMAT:
        if ((found = place(value, LOG_FORMATS)) < 0) refuse_value(option->name, value, "text, json");
        options.json_log = found == 1;
        break;
    case REPORT_FORMAT:
        if ((found = place(value, REPORT_FORMATS)) < 0) refuse_value(option->name, value, "html, text, json");
        options.report_format = CORELANE_REPORT_TEXT + (uint32_t)found;
        break;
    case WITHOUT:
        if (strcmp(value, "local") && strcmp(value, "refuse")) refuse_value(option->name, value, "local, refuse");
        options.cluster_local = *value == 'l';
        break;
    case SETTING: {
        const char *equals = strchr(value, '=');
        if (!equals || equals - value > 60 || strchr(value, '\n'))
            refuse_value(option->name, value, "a key, an equals sign and a value, such as hold_ms=2000");
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)(equals - value), value);
        set(key, equals + 1, true);
    }
    }
}

static _Noreturn void help(const char *program) {
    printf("usage: %s [--OPTION VALUE]...\n\n", program);
    for (size_t at = 0; at < sizeof OPTIONS / sizeof *OPTIONS; at++) {
        char letter[8] = "";
        if (OPTIONS[at].letter) snprintf(letter, sizeof letter, ", -%c", OPTIONS[at].letter);
        printf("  --%s%-*s %s\n", OPTIONS[at].name, (int)(20 - strlen(OPTIONS[at].name)), letter, OPTIONS[at].help);
    }
    exit(0);
}

static const struct option *find(const char *name, size_t length) {
    for (size_t at = 0; at < sizeof OPTIONS / sizeof *OPTIONS; at++) {
        const struct option *option = &OPTIONS[at];
        size_t same = 0;
        /* Both spellings: concurrent_limit and concurrent-limit. */
        while (same < length && option->name[same] == (name[same] == '-' ? '_' : name[same]))
            same++;
        if (same == length && !option->name[same]) return option;
    }
    return NULL;
}

static void read_line(int count, char **values) {
    for (int at = 1; at < count; at++) {
        const char *word = values[at], *value = NULL;
        const struct option *option = NULL;
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) help(values[0]);
        if (!strncmp(word, "--", 2)) {
            value = strchr(word, '=');
            option = find(word + 2, value ? (size_t)(value - word - 2) : strlen(word + 2));
            value = value ? value + 1 : NULL;
        } else if (word[0] == '-' && word[1] && !word[2]) {
            for (size_t one = 0; one < sizeof OPTIONS / sizeof *OPTIONS; one++)
                if (OPTIONS[one].letter == word[1]) option = &OPTIONS[one];
        }
        if (!option) fail(2, "unknown option %s; --help lists them", word);
        bool is_last = at + 1 == count;
        if (!value && option->kind == FLAG) {
            bool has_value = !is_last && (!strcmp(values[at + 1], "true") || !strcmp(values[at + 1], "false"));
            value = has_value ? values[++at] : "true";
        }
        if (!value && is_last) fail(2, "--%s needs a value", option->name);
        apply(option, value ? value : values[++at]);
        /* Several origins may follow one --cors. */
        while (option->kind == ORIGINS && at + 1 < count && values[at + 1][0] != '-')
            apply(option, values[++at]);
    }
}

/* Whether a part of --cluster is the address of a nats-server. It must not have a user, because other users of this machine see
 * the command line. */
static bool is_server(const char *text, size_t length) {
    static const char *const SCHEMES[] = {"nats://", "tls://"};
    for (size_t at = 0; at < 2; at++) {
        size_t scheme = strlen(SCHEMES[at]);
        if (length <= scheme || strncmp(text, SCHEMES[at], scheme)) continue;
        const char *host = text + scheme, *end = text + length;
        if (end[-1] == '/') end--;
        if (host == end || *host == ':') return false;
        for (const char *one = host; one < end; one++)
            if (!isalnum((unsigned char)*one) && !strchr(".-_:[]", *one)) return false;
        return true;
    }
    return false;
}

static void check_cluster(void) {
    const struct {
        const char *name, *value;
    } needs[] = {{"cluster_name", options.cluster_name},     {"machine", options.machine},
                 {"cluster_credentials", options.cluster_credentials}, {"cluster_secret", options.cluster_secret},
                 {"cluster_ca", options.cluster_ca},         {"cluster_key", options.cluster_key},
                 {"cluster_cert", options.cluster_cert}};
    for (size_t at = 0; !options.cluster && at < sizeof needs / sizeof *needs; at++)
        if (needs[at].value) fail(2, "--%s needs --cluster", needs[at].name);
    if (!options.cluster && !options.cluster_local) fail(2, "--cluster_without needs --cluster");
    if (!options.cluster_key != !options.cluster_cert) fail(2, "--cluster_key and --cluster_cert need each other");
    for (const char *at = options.cluster; at; at = strchr(at, ',')) {
        at += *at == ',';
        /* The address is not repeated: it may have a password. */
        if (!is_server(at, strcspn(at, ",")))
            fail(2, "--cluster: allowed: addresses such as nats://nats.example:4222 or tls://nats.example, without a user; "
                    "credentials come from a file (--cluster_credentials)");
        if (!*at) break;
    }
    if (options.drain_seconds == UINT64_MAX) options.drain_seconds = options.cluster ? 10 : 0;
}

/* Sizes with which a router works that has these limits: several of the largest messages may be in flight to one
 * client, or held for it. A message larger than a ring's record becomes an out-of-line payload. */
static void configure(void) {
    uint64_t record = given_number("max_message", options.max_message) + 1024;
    uint64_t four_records = 4096, limit = given_number("connection_limit", options.concurrent_limit);
    while (four_records < 4 * (record < 66560 ? record : 66560))
        four_records *= 2;
    options.concurrent_limit = limit;
    options.max_message = record - 1024;
    options.max_frame = 2 * options.max_message > 2 << 20 ? 2 * options.max_message : 2 << 20;
    if (!options.max_connections) options.max_connections = 2 * limit + 1000;

    set_number("workers", options.threads);
    set_number("local_workers", options.threads);
    set_number("max_ports", options.threads);
    /* The gateway to the other machines is one more port. */
    if (options.cluster) {
        char ports[24];
        snprintf(ports, sizeof ports, "%llu", (unsigned long long)given_number("max_ports", options.threads) + 1);
        set("max_ports", ports, true);
    }
    set_number("connection_limit", limit);
    /* A client that has disconnected keeps its slot for a while. */
    set_number("max_clients", 2 * limit < 64 ? 64 : 2 * limit > 1000000 ? 1000000 : 2 * limit);
    set_number("max_message", options.max_message);
    set_number("hold_ms", options.expire_timeout);
    set_number("ring_bytes", four_records > 131072 ? four_records : 131072);
    set_number("backlog_bytes", four_records > 1 << 20 ? four_records : 1 << 20);
    set_number("credit_bytes", 4 * record > 1 << 20 ? 4 * record : 1 << 20);
    set_number("hold_bytes", 4 * record > 4 << 20 ? 4 * record : 4 << 20);
    set_number("payload_bytes", 32 * record > 16 << 20 ? 32 * record : 16 << 20);
    for (size_t at = 0; at < pair_count; at++)
        text_format(&options.config, "%s=%s\n", pairs[at].key, pairs[at].value);
}

void options_read(int count, char **values) {
    const char *port = getenv("PORT"), *path = getenv("PEERSERVER_PATH"), *token = getenv("MONITOR_TOKEN");
    const uint64_t unset = UINT64_MAX;
    if (path) options.path = path;
    if (token && *token) options.monitor_token = token;
    options.port = unset;
    read_line(count, values);
    if (options.port == unset) {
        options.port = 9000;
        if (port && !read_number(port, 0, 65535, &options.port))
            fail(2, "the environment variable PORT is \"%s\", which is not a port; allowed: 0 to 65535", port);
    }
    if (!options.ssl_key != !options.ssl_certificate) fail(2, "--sslkey and --sslcert need each other");
    if (options.monitor_tls && !options.ssl_key) fail(2, "--monitor_tls needs --sslkey and --sslcert");
    check_cluster();
    const char *start = options.path;
    while (*start == '/')
        start++;
    size_t length = strlen(start);
    while (length && start[length - 1] == '/')
        length--;
    if (length > sizeof options.base - 3) fail(2, "--path %s is too long; allowed: up to 250 bytes", options.path);
    snprintf(options.base, sizeof options.base, length ? "/%.*s/" : "/", (int)length, start);
    configure();
}
