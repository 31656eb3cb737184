/* The life of a WebSocket. It enters under an id, or is refused with a reason. Then its messages go to the port, and
 * what the port hands out goes to its queue, which its credit bounds. The credit returns once a frame is written. */

#include "server.h"
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Queue length above which the server adds no notices of its own. */
#define NOTICES 64
/* Bytes of one write of small frames. */
#define BATCH_BYTES (64 << 10)
/* Most bytes that a connection inherits from its predecessor: the router has returned their credit already. */
#define INHERITED_BYTES (1 << 20)
/* Time for which the name of a client that comes back is free. Messages in flight to its old socket arrive in this time
 * and are handed over. New ones are held for the new socket. */
#define TAKE_OVER_US 5000
/* Interval between the claims for clients that were connected without one, and the most claims of a thread at a time. */
#define CATCH_UP_MS 1000
#define LATE_CLAIMS 32
/* How the HEARTBEAT of a PeerJS client begins. Such a client is idle. */
#define HEARTBEAT "{\"type\":\"HEARTBEAT\""

/* Codes of a close that libwebsockets has no names for. */
#define CLOSE_RESTART ((enum lws_close_status)1012)
#define CLOSE_TRY_AGAIN ((enum lws_close_status)1013)

static struct owner owner_of(const struct connection *connection) {
    return (struct owner){connection->thread->index, connection->number};
}

/* -------------------------------------------------------------------------------------------------- queue */

static void enqueue(struct connection *connection, const char *text, size_t length, uint32_t messages, uint32_t bytes) {
    struct queue *queue = &connection->outgoing;
    struct frame *frame = need(malloc(sizeof *frame + LWS_PRE + length));
    *frame = (struct frame){.messages = messages, .bytes = bytes, .length = length};
    memcpy(frame->data + LWS_PRE, text, length);
    if (!queue->first) connection->progress_ms = now_ms();
    if (messages) connection->active_ms = now_ms();
    *(queue->last ? &queue->last->next : &queue->first) = frame;
    queue->last = frame;
    queue->count++;
    if (connection->wsi) lws_callback_on_writable(connection->wsi);
}

static struct frame *dequeue(struct queue *queue) {
    struct frame *frame = queue->first;
    if (!frame) return NULL;
    queue->first = frame->next;
    if (!queue->first) queue->last = NULL;
    queue->count--;
    return frame;
}

static void empty(struct queue *queue) {
    for (struct frame *frame; (frame = dequeue(queue));)
        free(frame);
}

/* A message of the server itself. It uses no credit. */
static void say(struct connection *connection, const char *text) {
    enqueue(connection, text, strlen(text), 0, 0);
}

static void say_error(struct connection *connection, const char *reason) {
    struct text text = {0};
    text_format(&text, "{\"type\":\"ERROR\",\"payload\":{\"msg\":");
    text_quote(&text, reason);
    text_format(&text, "}}");
    say(connection, text.data);
    text_free(&text);
}

/* Returns the credit of the frames that libwebsockets has written. */
static void acknowledge(struct connection *connection) {
    if (connection->is_connected && connection->written_messages)
        corelane_port_acknowledge(network_port(connection->thread), connection->client, connection->written_messages,
                                  connection->written_bytes);
    connection->written_messages = connection->written_bytes = 0;
}

/* Writes the header of a text frame right before the text. Returns the header's length. */
static size_t add_header(unsigned char *text, size_t length) {
    size_t header = length < 126 ? 2 : length < 65536 ? 4 : 10;
    unsigned char *at = text - header;
    at[0] = 0x81; /* a whole message */
    at[1] = (unsigned char)(header == 2 ? length : header == 4 ? 126 : 127);
    for (size_t byte = 2; byte < header; byte++)
        at[byte] = (unsigned char)(length >> 8 * (header - 1 - byte));
    return header;
}

/* Writes many frames at once. libwebsockets would make a system call for each frame that it builds itself, so it gets
 * whole frames, which LWS_WRITE_HTTP sends as they are. Returns false if the socket is lost. */
static bool write_batch(struct connection *connection) {
    static _Thread_local unsigned char batch[LWS_PRE + BATCH_BYTES];
    unsigned char *start = batch + LWS_PRE;
    struct frame *alone = NULL;
    size_t length = 0;
    for (struct frame *frame; (frame = connection->outgoing.first); free(frame)) {
        size_t header = add_header(frame->data + LWS_PRE, frame->length), whole = header + frame->length;
        if (length + whole > BATCH_BYTES && length) break;
        dequeue(&connection->outgoing);
        connection->written_messages += frame->messages;
        connection->written_bytes += frame->bytes;
        if (whole > BATCH_BYTES) { /* without a copy */
            alone = frame;
            start = frame->data + LWS_PRE - header;
            length = whole;
            break;
        }
        memcpy(start + length, frame->data + LWS_PRE - header, whole);
        length += whole;
    }
    bool is_written = lws_write(connection->wsi, start, length, LWS_WRITE_HTTP) >= 0;
    connection->progress_ms = now_ms();
    free(alone);
    return is_written;
}

int socket_writes(struct connection *connection) {
    struct lws *wsi = connection->wsi;
    /* libwebsockets asks only after it has written all that it was given before. */
    acknowledge(connection);
    if (connection->state == STATE_ABORTED) return -1;
    if (connection->has_said_close) return 0;
    if (connection->ping_is_due) {
        unsigned char ping[LWS_PRE + 1];
        connection->ping_is_due = false;
        if (lws_write(wsi, ping + LWS_PRE, 0, LWS_WRITE_PING) < 0) return -1;
    }
    if (connection->state == STATE_REPLACED) return 0;
    /* A successor writes the queue itself. */
    for (int round = 0; round < 4 && connection->outgoing.first && !connection->has_successor; round++) {
        if (lws_partial_buffered(wsi)) break;
        if (!write_batch(connection)) return -1;
    }
    if (lws_partial_buffered(wsi)) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    acknowledge(connection);
    if (connection->outgoing.first && !connection->has_successor) {
        lws_callback_on_writable(wsi);
    } else if (connection->state == STATE_CLOSING) {
        visitor_moves(connection->visitor, AT_CLOSING);
        lws_close_reason(wsi, connection->close_status, NULL, 0);
        connection->has_said_close = true;
        return -1;
    }
    return 0;
}

void socket_ends(struct connection *connection, enum state state, const char *why) {
    if (connection->state == STATE_ABORTED) return;
    connection->state = state;
    connection->why = why;
    if (!connection->wsi) return;
    if (state == STATE_ABORTED) lws_set_timeout(connection->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
    lws_callback_on_writable(connection->wsi);
}

/* -------------------------------------------------------------------------------------------------- entering and
 * leaving */

static void close_with(struct connection *connection, enum refusal reason, const char *id) {
    refuse(reason, connection->address, id);
    socket_ends(connection, STATE_CLOSING, "refused");
}

/* Makes the connection a client of the router. OPEN comes before anything else. */
static void become_client(struct connection *connection) {
    size_t bytes = 0;
    if (connection->wsi) say(connection, "{\"type\":\"OPEN\"}");
    for (struct frame *frame; (frame = dequeue(&connection->inherited)); free(frame)) {
        bytes += frame->length;
        if (bytes <= INHERITED_BYTES) enqueue(connection, (char *)frame->data + LWS_PRE, frame->length, 0, 0);
    }
    struct thread *thread = connection->thread;
    struct corelane_port port = network_port(thread);
    corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
    corelane_error error = CORELANE_ERROR_INIT;
    options.name = connection->id;
    options.protocol = options.application = "peerjs";
    options.token = (uintptr_t)connection;
    int32_t status = corelane_port_connect(port, &options, &connection->client, &error);
    if (status < 0) {
        registry_leave(connection->id, owner_of(connection));
        empty(&connection->outgoing);
        say_error(connection,
                  status == CORELANE_LIMIT ? "Server has reached its concurrent user limit" : error.message);
        close_with(connection, BY_ROUTER, connection->id);
        return;
    }
    connection->is_connected = connection->is_routed = true;
    connection->state = STATE_OPEN;
    connection->heard_ms = connection->pinged_ms = connection->active_ms = now_ms();
    if (connection->wsi) lws_rx_flow_control(connection->wsi, 1);
    log_event(LEVEL_INFO, "connected", "id", connection->id, "address", connection->address, NULL);
}

/* First the router frees the name, then the registry the id. The router still handles what the client has sent; its
 * last event for the client is CORELANE_EVENT_CLOSED. */
static void leave(struct connection *connection) {
    if (connection->is_connected) corelane_port_disconnect(network_port(connection->thread), connection->client);
    connection->is_connected = false;
    registry_leave(connection->id, owner_of(connection));
}

static void hand_over(struct connection *connection);
static void release(struct connection *connection);
static void begin_takeover(struct connection *connection);

/* Ends a connection that has its id, and becomes no client. */
static void give_up(struct connection *connection) {
    connection->state = STATE_CLOSING;
    registry_leave(connection->id, owner_of(connection));
    if (connection->has_successor) { /* it gets what the predecessor has not written */
        connection->outgoing = connection->inherited;
        connection->inherited = (struct queue){0};
    }
    hand_over(connection);
    if (connection->wsi) {
        lws_rx_flow_control(connection->wsi, 1); /* for the answer to the closing frame */
        lws_callback_on_writable(connection->wsi);
    }
    release(connection);
}

/* Refuses a client whose upgrade has been answered: the claim was refused after it. Another server may take it. */
static void turn_away(struct connection *connection, enum refusal reason) {
    refuse(reason, connection->address, connection->id);
    connection->close_status = CLOSE_TRY_AGAIN;
    connection->why = "refused";
    give_up(connection);
}

static void say_taken(struct connection *connection) {
    say(connection, "{\"type\":\"ID-TAKEN\",\"payload\":{\"msg\":\"ID is taken\"}}");
}

/* Goes on with a connection that has its id, and whose predecessor, if there was one, has left: claims the id, then becomes a
 * client. */
static void proceed(struct connection *connection) {
    if (!connection->wsi || atomic_load(&stopping)) { /* the socket has closed meanwhile */
        give_up(connection);
        return;
    }
    if (cluster_is_on() && !connection->claim && !connection->is_local) {
        lws_rx_flow_control(connection->wsi, 0);
        connection->state = STATE_WAITING;
        connection->claim = claim_start(connection->id, connection->token, owner_of(connection));
        connection->is_claiming = connection->claim;
        if (connection->is_claiming) return;
        connection->is_local = true; /* the router tells what is wrong with the id */
    }
    become_client(connection);
    if (!connection->is_connected)
        hand_over(connection); /* the router has refused it */
    else if (connection->has_successor)
        begin_takeover(connection);
}

/* Key, id and token of the URL. If a name occurs twice the last one counts, as in npm's server. False: one is too long.
 */
static bool read_query(struct lws *wsi, char *key, char *id, char *token, size_t size) {
    char pair[1024];
    int length;
    bool fits = true;
    for (int at = 0; (length = lws_hdr_copy_fragment(wsi, pair, sizeof pair, WSI_TOKEN_HTTP_URI_ARGS, at)); at++) {
        if (length < 0) {
            /* No further pair can be read. */
            if (lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, at) <= 0) break;
            fits = false;
            continue;
        }
        if (!strncmp(pair, "key=", 4)) snprintf(key, size, "%s", pair + 4);
        if (!strncmp(pair, "id=", 3)) snprintf(id, size, "%s", pair + 3);
        if (!strncmp(pair, "token=", 6)) snprintf(token, size, "%s", pair + 6);
    }
    return fits;
}

void socket_opens(struct thread *thread, struct lws *wsi, struct visitor *visitor) {
    char key[1024] = "", id[1024] = "", token[1024] = "";
    struct connection *connection = need(calloc(1, sizeof *connection));
    connection->thread = thread;
    connection->wsi = wsi;
    connection->visitor = visitor;
    connection->number = ++thread->next_number;
    connection->why = "connection lost";
    connection->close_status = LWS_CLOSE_STATUS_NORMAL;
    connection->since_ms = now_ms();
    snprintf(connection->address, sizeof connection->address, "%s", visitor->address);
    connection->next = thread->connections;
    if (thread->connections) thread->connections->previous = connection;
    thread->connections = connection;
    visitor->connection = connection;
    visitor_moves(visitor, AT_WEBSOCKET);
    thread->sockets++;

    bool fits = read_query(wsi, key, id, token, sizeof key);
    size_t length = strlen(id);
    if (fits && (!*key || !*id || !*token)) {
        say_error(connection, "No id, token, or key supplied to websocket server");
        close_with(connection, MISSING_PARAMETERS, id);
        return;
    }
    if (fits && strcmp(key, options.key)) {
        say_error(connection, "Invalid key provided");
        close_with(connection, WRONG_KEY, id);
        return;
    }
    if (!fits || length > NAME_BYTES) {
        say_error(connection, "The id is longer than 64 bytes");
        close_with(connection, ID_TOO_LONG, id);
        return;
    }
    memcpy(connection->id, id, length);
    if (cluster_is_on()) connection->token = need(strdup(token));
    struct owner before;
    enum entered entered = registry_enter(id, token, connection->address, owner_of(connection), &before);
    if (entered == ENTERED_AGAIN || entered == ENTERED_AFTER || entered == ENTERED_TAKEN)
        corelane_monitor_record_reconnect(monitor);
    switch (entered) {
    case ENTERED_TAKEN:
        say_taken(connection);
        close_with(connection, ID_IS_TAKEN, id);
        break;
    case ENTERED_FULL:
        say_error(connection, "Server has reached its concurrent user limit");
        close_with(connection, SERVER_FULL, id);
        break;
    case ENTERED_AFTER:
        /* Read nothing until the predecessor has handed over what it has not written: see on_rest. */
        lws_rx_flow_control(wsi, 0);
        connection->state = STATE_WAITING;
        network_send(before.thread,
                     (struct command){.kind = RELEASE, .number = before.number, .successor = owner_of(connection)});
        break;
    default: proceed(connection);
    }
}

/* Frees a connection that has neither a socket nor a client in the router. */
static void release(struct connection *connection) {
    if (connection->wsi || connection->is_routed || connection->state == STATE_WAITING) return;
    *(connection->previous ? &connection->previous->next : &connection->thread->connections) = connection->next;
    if (connection->next) connection->next->previous = connection->previous;
    lws_sul_cancel(&connection->grace);
    empty(&connection->outgoing);
    empty(&connection->inherited);
    claim_release(connection->claim);
    text_free(&connection->message);
    free(connection->token);
    free(connection);
}

static void claim_is_answered(struct connection *connection) {
    if (connection->is_late) connection->thread->claims--;
    connection->is_claiming = connection->is_late = false;
}

/* Gives the successor what is not written, and the claim. Without one the claim ends. */
static void hand_over(struct connection *connection) {
    struct claim *claim = connection->claim;
    connection->claim = NULL;
    claim_is_answered(connection);
    /* A claim that has no answer or is lost is of no use to a successor. */
    if (claim && !(connection->has_successor && claim_moves(claim, connection->successor))) {
        claim_release(claim);
        claim = NULL;
    }
    if (!connection->has_successor) return;
    connection->has_successor = false;
    struct command command = {
        .kind = REST, .number = connection->successor.number, .rest = connection->outgoing, .claim = claim};
    connection->outgoing = (struct queue){0};
    network_send(connection->successor.thread, command);
}

void socket_closed(struct connection *connection) {
    bool was_client = connection->is_routed;
    connection->wsi = NULL;
    connection->thread->sockets--;
    text_free(&connection->message);
    if (was_client) {
        char seconds[24];
        snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)(now_ms() - connection->since_ms) / 1000);
        log_event(LEVEL_INFO, "disconnected", "id", connection->id, "address", connection->address, "reason",
                  connection->why, "seconds", seconds, NULL);
    }
    if (connection->is_claiming && connection->state == STATE_WAITING) {
        give_up(connection); /* frees the connection */
        return;
    }
    /* A connection that was replaced, or is drained, leaves when its time is over. */
    if (connection->state == STATE_OPEN || connection->state == STATE_CLOSING || connection->state == STATE_ABORTED)
        leave(connection);
    release(connection);
}

/* -------------------------------------------------------------------------------------------------- takeover */

static void grace_is_over(lws_sorted_usec_list_t *sul) {
    struct connection *connection = lws_container_of(sul, struct connection, grace);
    leave(connection);
    /* One that is drained closes after the router's last event for it. */
    if (connection->state != STATE_DRAINING) socket_ends(connection, STATE_CLOSING, connection->why);
    release(connection);
}

static struct connection *find(struct thread *thread, uint64_t number) {
    struct connection *connection = thread->connections;
    while (connection && connection->number != number)
        connection = connection->next;
    return connection;
}

static void begin_takeover(struct connection *connection) {
    corelane_port_release_name(network_port(connection->thread), connection->client);
    socket_ends(connection, STATE_REPLACED, "replaced by a new socket of the same client");
    lws_sul_schedule(connection->thread->context, 0, &connection->grace, grace_is_over, TAKE_OVER_US);
}

void on_release(struct thread *thread, uint64_t number, struct owner successor) {
    struct connection *connection = find(thread, number);
    if (!connection || !(connection->is_routed || connection->state == STATE_WAITING)) {
        network_send(successor.thread, (struct command){.kind = REST, .number = successor.number});
        return;
    }
    connection->has_successor = true;
    connection->successor = successor;
    /* One that waits for its own predecessor is released in on_rest, one that leaves by its last event. */
    if (connection->is_connected) begin_takeover(connection);
}

void on_rest(struct thread *thread, uint64_t number, struct queue *rest, struct claim *claim) {
    struct connection *connection = find(thread, number);
    if (!connection) {
        empty(rest);
        claim_release(claim);
        return;
    }
    connection->inherited = *rest;
    connection->claim = claim;
    if (claim && !claim_moves(claim, owner_of(connection))) { /* it was lost on the way */
        claim_release(claim);
        connection->claim = NULL;
    }
    proceed(connection);
}

/* -------------------------------------------------------------------------------------------------- several machines */

static void leave_as_taken(struct connection *connection) {
    say_taken(connection);
    leave(connection);
    socket_ends(connection, STATE_CLOSING, "another client has the id, on another machine");
}

/* The answer to the claim of a client that was connected without one. */
static void on_late_answer(struct connection *connection, int32_t status) {
    if (status == CORELANE_OK) return;
    claim_release(connection->claim);
    connection->claim = NULL;
    if (status == CORELANE_EXISTS && connection->state == STATE_OPEN) leave_as_taken(connection);
}

void on_answer(struct thread *thread, uint64_t number, struct claim *claim, int32_t status) {
    struct connection *connection = find(thread, number);
    if (!connection || connection->claim != claim || !connection->is_claiming) return;
    claim_is_answered(connection);
    if (connection->state != STATE_WAITING) {
        on_late_answer(connection, status);
        return;
    }
    if (status == CORELANE_OK) {
        proceed(connection);
        return;
    }
    claim_release(claim);
    connection->claim = NULL;
    if (status == CORELANE_EXISTS) {
        corelane_monitor_record_reconnect(monitor);
        refuse(ID_IS_TAKEN, connection->address, connection->id);
        connection->why = "refused";
        give_up(connection);
        say_taken(connection); /* the socket is open, so the connection is still there */
    } else if (status == CORELANE_BUSY) {
        turn_away(connection, CLUSTER_BUSY);
    } else if (status == CORELANE_CLOSED) {
        turn_away(connection, DRAINING);
    } else if (options.cluster_local || status == CORELANE_INVALID) {
        connection->is_local = true;
        proceed(connection);
    } else {
        turn_away(connection, CLUSTER_UNAVAILABLE);
    }
}

void on_lost(struct thread *thread, uint64_t number, struct claim *claim, bool is_taken) {
    struct connection *connection = find(thread, number);
    if (!connection || connection->claim != claim || connection->state != STATE_OPEN) return;
    if (is_taken)
        leave_as_taken(connection);
    else
        begin_takeover(connection);
}

void catch_up(struct thread *thread) {
    uint64_t now = now_ms();
    if (!cluster_is_on() || now - thread->claimed_ms < CATCH_UP_MS || !cluster_can_claim()) return;
    thread->claimed_ms = now;
    for (struct connection *one = thread->connections; one && thread->claims < LATE_CLAIMS; one = one->next) {
        if (!one->is_connected || one->state != STATE_OPEN || one->claim || one->has_left) continue;
        if (!(one->claim = claim_start(one->id, one->token, owner_of(one)))) continue;
        one->is_claiming = one->is_late = true;
        thread->claims++;
    }
}

void socket_drains(struct connection *connection) {
    corelane_port_release_name(network_port(connection->thread), connection->client);
    socket_ends(connection, STATE_DRAINING, "the server drains");
    lws_sul_schedule(connection->thread->context, 0, &connection->grace, grace_is_over, TAKE_OVER_US);
}

/* -------------------------------------------------------------------------------------------------- receiving */

static void say_too_large(struct connection *connection, size_t bytes) {
    char text[128];
    snprintf(text, sizeof text, "The message has %zu bytes; this server delivers up to %llu", bytes,
             (unsigned long long)options.max_message);
    say_error(connection, text);
}

static void submit(struct connection *connection, const char *message, size_t length) {
    struct corelane_port port = network_port(connection->thread);
    int32_t status;
    if (length < strlen(HEARTBEAT) || memcmp(message, HEARTBEAT, strlen(HEARTBEAT))) connection->active_ms = now_ms();
    /* The ring is that of this thread's own worker, so a pump makes room. */
    while (connection->is_connected &&
           (status = corelane_port_submit(port, connection->client, (const uint8_t *)message, length, 0)) < 0) {
        if (status == CORELANE_FULL) {
            network_pump(connection->thread);
            continue;
        }
        /* Any other refusal drops the message. The router has counted it by its reason. */
        if (status == CORELANE_TOO_LARGE && connection->outgoing.count < NOTICES) say_too_large(connection, length);
        return;
    }
}

int socket_receives(struct connection *connection, const char *bytes, size_t length) {
    struct text *message = &connection->message;
    size_t rest = lws_remaining_packet_payload(connection->wsi), whole = message->length + length + rest;
    bool is_complete = !rest && lws_is_final_fragment(connection->wsi);
    connection->heard_ms = now_ms();
    if (!connection->is_connected) return 0;
    if (whole > options.max_frame) {
        text_free(message);
        say_too_large(connection, whole);
        connection->close_status = LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE;
        close_with(connection, FRAME_TOO_LARGE, connection->id);
        connection->why = "protocol error of the client";
        leave(connection);
        return 0;
    }
    if (is_complete && !message->length) {
        submit(connection, bytes, length);
        return 0;
    }
    text_add(message, bytes, length);
    if (is_complete) {
        submit(connection, message->data, message->length);
        text_free(message);
    }
    return 0;
}

/* -------------------------------------------------------------------------------------------------- events of the port
 */

void on_event(struct thread *thread, const struct corelane_event *event) {
    struct connection *connection = (struct connection *)(uintptr_t)event->token;
    struct text text = {0}, name = {0};
    bool takes_messages = connection && (connection->is_connected || connection->has_successor ||
                                          connection->state == STATE_DRAINING);
    switch (event->kind) {
    case CORELANE_EVENT_MESSAGE:
        /* Otherwise the client has left, and the router returns its credit with its last event. */
        if (takes_messages) enqueue(connection, (const char *)event->bytes, event->length, 1, (uint32_t)event->length);
        break;
    case CORELANE_EVENT_EXPIRED:
        if (!takes_messages) break;
        text_add(&name, (const char *)event->bytes, event->length);
        text_format(&text, "{\"type\":\"EXPIRE\",\"src\":");
        text_quote(&text, name.data);
        text_format(&text, ",\"dst\":");
        text_quote(&text, connection->id);
        text_format(&text, "}");
        enqueue(connection, text.data, text.length, 1, (uint32_t)event->length);
        break;
    case CORELANE_EVENT_LEFT:
        corelane_port_release_name(thread->port, event->client);
        registry_leave(connection->id, owner_of(connection));
        connection->has_left = true;
        if (!connection->has_successor) hand_over(connection); /* the claim ends */
        break;
    case CORELANE_EVENT_CLOSE:
        leave(connection);
        socket_ends(connection, STATE_ABORTED, "the client does not read");
        break;
    case CORELANE_EVENT_CLOSED:
        connection->is_routed = connection->is_connected = false;
        hand_over(connection);
        if (connection->state == STATE_DRAINING) {
            connection->close_status = CLOSE_RESTART;
            socket_ends(connection, STATE_CLOSING, connection->why);
        }
        release(connection);
        break;
    }
    text_free(&text);
    text_free(&name);
}

/* -------------------------------------------------------------------------------------------------- silence */

/* How long ago the socket has received anything, a ping of the client included, which libwebsockets answers by itself.
 */
static uint64_t silent_ms(const struct connection *connection) {
    struct tcp_info info;
    socklen_t length = sizeof info;
    int descriptor = lws_get_socket_fd(lws_get_network_wsi(connection->wsi));
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length)) return UINT64_MAX;
    return info.tcpi_last_data_recv;
}

/* Closes silent clients. Any frame is a sign of life. A silent client first gets a ping, because a browser may suspend
 * a page's timers while its connection works. Closes also those that leave what is written to them unread. */
void look_for_silent_clients(struct thread *thread) {
    uint64_t now = now_ms(), limit = options.alive_timeout;
    for (struct connection *connection = thread->connections, *next; connection; connection = next) {
        next = connection->next;
        if (!connection->wsi || !connection->is_connected) continue;
        bool is_stuck = connection->outgoing.first || lws_partial_buffered(connection->wsi);
        if (is_stuck && now - connection->progress_ms >= limit) {
            refuse(NOT_READ, connection->address, connection->id);
            leave(connection);
            socket_ends(connection, STATE_ABORTED, "the client does not read");
            continue;
        }
        if (now - connection->heard_ms < limit / 3) continue;
        uint64_t silence = silent_ms(connection);
        if (silence < now - connection->heard_ms) connection->heard_ms = now - silence;
        if (now - connection->heard_ms >= limit) {
            leave(connection);
            socket_ends(connection, STATE_CLOSING, "silent for --alive_timeout");
        } else if (now - connection->heard_ms >= limit / 3 && now - connection->pinged_ms >= limit / 3) {
            connection->pinged_ms = now;
            connection->ping_is_due = true;
            lws_callback_on_writable(connection->wsi);
        }
    }
}
