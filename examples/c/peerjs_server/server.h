/* A PeerJS-compatible signaling server on libwebsockets and corelane. It does what npm's `peer` does, and counts and
 * times every message. A network thread owns a listener, its sockets, and a port of corelane with a local worker. No
 * lock is taken between a socket and a ring.
 *
 * | file | what it does |
 * |---|---|
 * | main.c, options.c | the start, the command line, the end |
 * | network.c | a network thread: libwebsockets' loop, the port, commands of other threads |
 * | http.c, socket.c | what a socket does: pages, and the life of a client |
 * | registry.c | who has which id |
 * | cluster.c, drain.c | ids in a cluster of several machines, the drain before a stop |
 * | watch.c | the monitor's HTTP door, whose thread is the library's |
 * | listen.c, log.c, text.c | listeners and refusals, the log, texts */

#ifndef SERVER_H
#define SERVER_H

#include <corelane.h>
#include <libwebsockets.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_BYTES 64
#define ADDRESS_BYTES 48
#define MAX_THREADS 64
#define MAX_ORIGINS 32

/* -------------------------------------------------------------------------------------------------- text.c */

/* A growing text. Memory that cannot be had ends the process. */
struct text {
    char *data; /* with a closing NUL; NULL while nothing was added */
    size_t length, capacity;
};

void *need(void *memory);
void text_add(struct text *text, const char *bytes, size_t length);
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds a JSON string. */
void text_quote(struct text *text, const char *value);
void text_free(struct text *text);
uint64_t now_ms(void);
uint64_t unix_ms(void);

/* -------------------------------------------------------------------------------------------------- log.c */

enum level { LEVEL_OFF, LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG, LEVEL_TRACE };

/* Logs an event with pairs of name and value, up to a NULL. Never blocks: a line that the reader has no room for is
 * dropped. */
void log_event(enum level level, const char *message, ...) __attribute__((sentinel));
uint64_t log_dropped(void);

/* -------------------------------------------------------------------------------------------------- options.c */

struct options {
    const char *host, *key, *path, *ssl_key, *ssl_certificate, *monitor, *monitor_host, *monitor_token, *report_file;
    const char *cluster, *cluster_name, *machine, *cluster_credentials, *cluster_secret, *cluster_ca, *cluster_key, *cluster_cert;
    const char *origins[MAX_ORIGINS];
    size_t origin_count;
    uint64_t port, expire_timeout, alive_timeout, concurrent_limit, max_connections, max_per_address, socket_timeout,
        threads, max_message, drain_seconds;
    uint32_t report_format;
    enum level log;
    bool allow_discovery, proxied, json_log, monitor_tls;
    bool cluster_local; /* new clients are connected while NATS is unreachable */
    /* Follow from the others. */
    char base[256]; /* begins and ends with a slash */
    size_t max_frame;
    struct text config; /* of the router */
};

extern struct options options;

/* Reads the command line. Ends the process with status 2 if it is wrong. */
void options_read(int count, char **values);
_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -------------------------------------------------------------------------------------------------- listen.c */

enum refusal {
    MISSING_PARAMETERS,
    WRONG_KEY,
    ID_TOO_LONG,
    ID_IS_TAKEN,
    SERVER_FULL,
    BY_ROUTER,
    ORIGIN,
    BAD_UPGRADE,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_OF_ADDRESS,
    NO_DESCRIPTOR,
    NOT_READ,
    FRAME_TOO_LARGE,
    DRAINING,
    CLUSTER_BUSY,
    CLUSTER_UNAVAILABLE,
    REFUSALS,
};

enum place { AT_HTTP, AT_WEBSOCKET, AT_CLOSING, PLACES };

/* An accepted TCP socket. */
struct visitor {
    struct listener *listener;
    struct connection *connection; /* once it is a WebSocket */
    enum place place;
    char peer[ADDRESS_BYTES];    /* of the socket */
    char address[ADDRESS_BYTES]; /* of the client: behind a proxy another one */
    char counted[ADDRESS_BYTES]; /* the address or network whose limit it uses, or empty */
};

struct listener {
    int descriptor;
    char name[ADDRESS_BYTES + 8]; /* address and port */
    bool everywhere;              /* any address of the machine */
    struct lws_vhost *vhost;
    struct thread *thread;
};

/* Opens a listener, or returns false with errno. A port of 0 becomes the port that the system chose. */
bool listener_open(struct listener *listener, const char *host, uint64_t *port);
/* Accepts what waits, and gives it to libwebsockets. */
void listener_accept(struct listener *listener);
void visitor_moves(struct visitor *visitor, enum place place);
void visitor_ends(struct visitor *visitor);
/* Counts the socket against the limit of its client's address. False, with the refusal counted, if that is reached. */
bool visitor_counts(struct visitor *visitor);

/* Counts a refusal by its reason, and logs it. */
void refuse(enum refusal reason, const char *address, const char *id);
/* Declares the server's own metrics. */
void counts_start(struct corelane_monitor monitor);
bool is_crowded(void);

/* -------------------------------------------------------------------------------------------------- registry.c */

/* A client's place: a thread, and the number of a connection there. */
struct owner {
    unsigned thread;
    uint64_t number;
};

enum entered { ENTERED_NEW, ENTERED_AGAIN, ENTERED_AFTER, ENTERED_TAKEN, ENTERED_FULL };

/* Gives an id to a connection, if it is free or the token is the same. With ENTERED_AFTER `*before` has to release it
 * first. */
enum entered registry_enter(const char *id, const char *token, const char *address, struct owner owner,
                            struct owner *before);
/* Frees an id, if it still belongs to this connection. */
void registry_leave(const char *id, struct owner owner);
size_t registry_count(void);
bool registry_has(const char *id);
/* Adds a JSON array with the ids, oldest first. */
void registry_ids(struct text *into);
/* Adds the JSON of the clients with addresses, newest first; or of the one with this id. */
void registry_peers(struct text *into, const char *id, size_t limit);
void registry_fresh_id(char id[37]);

/* -------------------------------------------------------------------------------------------------- socket.c */

/* A text that waits for a socket, and the credit to return once it is written. */
struct frame {
    struct frame *next;
    uint32_t messages, bytes;
    size_t length;
    unsigned char data[]; /* LWS_PRE bytes for libwebsockets, then the text */
};

struct queue {
    struct frame *first, *last;
    size_t count;
};

enum state {
    STATE_WAITING,  /* for the connection that has the id, or for the answer to the claim */
    STATE_OPEN,     /* reads and writes */
    STATE_REPLACED, /* a newer connection has the id, and will get the queue */
    STATE_DRAINING, /* the server drains: the router still has messages for it */
    STATE_CLOSING,  /* writes its queue, then closes */
    STATE_ABORTED,  /* closes at once */
};

struct connection {
    struct connection *next, *previous; /* on its thread */
    struct thread *thread;
    struct lws *wsi; /* NULL once the socket has closed */
    struct visitor *visitor;
    uint64_t number;
    char id[NAME_BYTES + 1];
    char address[ADDRESS_BYTES];
    struct corelane_client client;
    bool is_connected; /* in the router */
    bool is_routed;    /* the router's last event for the client is still to come */
    enum state state;
    const char *why; /* it ends, for the log */
    bool has_successor;
    struct owner successor;
    lws_sorted_usec_list_t grace;
    struct queue inherited; /* from the predecessor, to be written after OPEN */
    struct claim *claim;    /* of the id, in a cluster */
    char *token;            /* of the client, in a cluster */
    bool is_claiming;       /* the claim has no answer yet */
    bool is_late;           /* the claim is that of a client that was connected without one */
    bool has_left;          /* with a LEAVE: its id is free */
    bool is_local;          /* connected without a claim, because NATS is unreachable */
    struct queue outgoing;
    uint32_t written_messages, written_bytes; /* credit of frames that libwebsockets has taken */
    struct text message;                      /* the part that has been received */
    uint64_t since_ms, heard_ms, pinged_ms, progress_ms;
    uint64_t active_ms; /* the last message of the client or for it that is no heartbeat */
    bool ping_is_due;
    bool has_said_close; /* libwebsockets waits for the peer's closing frame */
    enum lws_close_status close_status;
};

void socket_opens(struct thread *thread, struct lws *wsi, struct visitor *visitor);
/* Each returns what the callback of libwebsockets returns. */
int socket_receives(struct connection *connection, const char *bytes, size_t length);
int socket_writes(struct connection *connection);
void socket_closed(struct connection *connection);
/* Makes the socket end. */
void socket_ends(struct connection *connection, enum state state, const char *why);

void on_event(struct thread *thread, const struct corelane_event *event);
void on_release(struct thread *thread, uint64_t number, struct owner successor);
void on_rest(struct thread *thread, uint64_t number, struct queue *rest, struct claim *claim);
void on_answer(struct thread *thread, uint64_t number, struct claim *claim, int32_t status);
void on_lost(struct thread *thread, uint64_t number, struct claim *claim, bool is_taken);
void look_for_silent_clients(struct thread *thread);
/* Claims the ids of clients that were connected while NATS was unreachable. */
void catch_up(struct thread *thread);
/* Lets the router finish what the client has sent, then closes with 1012. */
void socket_drains(struct connection *connection);

/* -------------------------------------------------------------------------------------------------- network.c */

/* What one thread asks of another. */
struct command {
    struct command *next;
    enum { RELEASE, REST, ANSWER, LOSE } kind;
    uint64_t number;        /* of the connection that it is for */
    struct owner successor; /* RELEASE: whoever gets the rest */
    struct queue rest;      /* REST: what the predecessor has not written */
    struct claim *claim;    /* REST: the predecessor's, or NULL; ANSWER, LOSE: the one that it is about */
    int32_t status;         /* ANSWER: 0 or why not; LOSE: 0 if the same client has the id elsewhere */
};

struct thread {
    unsigned index;
    pthread_t handle;
    struct listener listener;
    struct lws_context *context;
    struct corelane_port port;
    bool is_armed, is_reported;
    lws_sorted_usec_list_t due, look, drain;
    uint64_t drains_since_ms; /* 0: it does not */
    bool is_drained;
    struct connection *connections;
    uint64_t next_number;
    size_t sockets; /* that are WebSockets */
    size_t claims;  /* of clients that were connected without one */
    uint64_t claimed_ms;
    pthread_mutex_t lock;
    struct command *commands, **last_command;
    bool is_started;
};

extern struct thread threads[MAX_THREADS];
extern atomic_bool stopping;

void network_start(struct thread *thread, unsigned index, struct corelane_router router);
void network_send(unsigned thread, struct command command);
/* Makes the loop look at `stopping`. */
void network_wake(struct thread *thread);
/* The port, for a call from one of libwebsockets' callbacks: ends the wait that is prepared. */
struct corelane_port network_port(struct thread *thread);
/* Lets the worker route, and hands out what the port has. Returns how much that was. */
int network_pump(struct thread *thread);

/* -------------------------------------------------------------------------------------------------- cluster.c */

#define DRAINS "the server drains; connect to another one"
#define CUT_OFF "the server cannot reach its cluster; connect to another one"
#define TOO_MANY_AT_ONCE "too many clients connect at once; try again"

/* Joins the cluster, if there is one; ends the process if an option is not valid. Does not wait for NATS. */
void cluster_start(struct corelane_router router);
/* Starts the thread that takes what the cluster tells. */
void cluster_watch(void);
bool cluster_is_on(void);
bool cluster_can_claim(void);
/* Claims an id for a connection, whose thread gets the answer as a command. NULL: the id is not valid. */
struct claim *claim_start(const char *id, const char *token, struct owner owner);
/* The claim is another connection's from now on. False: it is lost. */
bool claim_moves(struct claim *claim, struct owner owner);
/* Gives the id up. Does nothing with NULL. */
void claim_release(struct claim *claim);
/* Why the server cannot connect a client; NULL if it can. */
const char *cluster_unready(void);
/* What a request for a WebSocket is refused with, and its reason; NULL if it is not. */
const char *cluster_refuses(enum refusal *reason);
/* As registry_ids, with those of the other machines. */
void cluster_ids(struct text *into);
/* Tells the other machines that this one drains. */
void cluster_drain(void);
/* Leaves the cluster. */
void cluster_stop(void);

/* -------------------------------------------------------------------------------------------------- drain.c */

extern atomic_bool draining;

/* Makes all threads close their clients, and returns once all are closed, after the time of the drain, or on a signal. */
void drain_all(const sigset_t *signals);
/* Begins the drain of a thread, if the server drains. */
void drain_look(struct thread *thread);

/* -------------------------------------------------------------------------------------------------- http.c */

/* Sends an answer. Returns what the callback of libwebsockets returns. */
int answer(struct lws *wsi, unsigned status, const char *type, const char *body, size_t length, const char *name,
           const char *value);
int answer_plain(struct lws *wsi, unsigned status, const char *body);
int http_page(struct lws *wsi, const char *path);
/* Whether a request may become a WebSocket: 0, or what the callback returns. */
int http_upgrades(struct lws *wsi, struct visitor *visitor);
/* A header's value; false if there is none or it is too long. */
bool header(struct lws *wsi, enum lws_token_indexes name, char *into, size_t size);

#define JSON_TYPE "application/json; charset=utf-8"
#define PLAIN_TYPE "text/plain; charset=utf-8"
#define HTML_TYPE "text/html; charset=utf-8"

/* -------------------------------------------------------------------------------------------------- watch.c */

extern struct corelane_monitor monitor;

/* Serves the monitor's page and figures, and tells its address; ends the process if it cannot. */
void watch_start(struct corelane_monitor monitor);
/* Tells /readyz whether the server is full or stops. To be called when that may have changed, without a lock of this server. */
void watch_look(void);
void watch_stop(void);

#endif
