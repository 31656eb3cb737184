//! The sections of docs/performance.md: what each bench measures, in words.

/// A section of the page.
pub struct Section {
    pub bench: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    /// The heads of the columns of a row.
    pub columns: [&'static str; 5],
    pub plots: &'static [&'static str],
}

const COMPARED: [&str; 5] = ["case", "against", "ours", "theirs", "ratio"];

pub const SECTIONS: [Section; 12] = [
    Section {
        bench: "ring",
        title: "Ring",
        about: "One thread sends to another, in batches of 32; the receiver reads batches of up to 256. Each side has \
                space for 512 KiB. Every message is copied in, and its words are added up on the way out. Corelane's \
                ring carries messages of any size and knows its end; the peers carry arrays of one size. The queues \
                in C++ are called once per batch; Boost's takes everything at once.",
        columns: COMPARED,
        plots: &[],
    },
    Section {
        bench: "router",
        title: "Router",
        about: "From port to worker to port: 64 PeerJS clients on one host thread. Peers do the same work: copy the \
                message, parse it with serde_json and borrowed fields, look up the recipient under a read lock, \
                rewrite the message, record with prometheus and resolved handles, and read the same clock. The Go \
                pool uses encoding/json and atomic counters. `1 thread`: the host runs the worker between its own \
                steps. `2 threads`: the host and one worker, both spinning where the side can. `defaults`: as many \
                workers as the side starts if nothing is set (corelane one per two cores, the pools one per core), \
                waiting as the side does; with several workers the pools do not keep the order of a client's messages, \
                corelane does.",
        columns: COMPARED,
        plots: &[],
    },
    Section {
        bench: "worker",
        title: "Worker",
        about: "A worker's own time per message, without the host's part: one thread, batches of 32. `opaque`: the \
                host names the recipient, and the bytes are not read. `ping`: read, counted, not delivered. `host \
                task`: read, handed to the host, which sends an answer to the sender. `route`: the whole time of a \
                synchronous call between two threads.",
        columns: COMPARED,
        plots: &[],
    },
    Section {
        bench: "fan-out",
        title: "Fan-out",
        about: "A message of 200 bytes to all other members of a room, per delivery. The peers write the message \
                once and share it between the deliveries.",
        columns: COMPARED,
        plots: &[],
    },
    Section {
        bench: "latency",
        title: "Latency",
        about: "An open loop: messages of 200 bytes arrive on a constant schedule, one host thread, one worker. A \
                latency counts from the scheduled time, so a side that falls behind shows it (no coordinated \
                omission). The table has each side at shares of its own capacity, which is its rate in a closed loop \
                of batches; the rows compare corelane's default with peers that sleep too, at one schedule: half the \
                capacity of the slowest side. On two cores the highest percentiles show the scheduler.",
        columns: COMPARED,
        plots: &["latency-10", "latency-50", "latency-90"],
    },
    Section {
        bench: "scaling",
        title: "Scaling",
        about: "Thread per core: each of N threads has 64 clients and a worker, and sends messages of 200 bytes to \
                the clients of all threads in turn. The pool's threads share one queue of jobs. The floor's threads \
                share nothing.",
        columns: COMPARED,
        plots: &["scaling"],
    },
    Section {
        bench: "efficiency",
        title: "Scaling: efficiency",
        about: "From the same rounds: N threads against N times one thread. **Here 1 is perfect.** The floor shows \
                the machine's own part.",
        columns: ["side", "threads", "together", "N × alone", "efficiency"],
        plots: &[],
    },
    Section {
        bench: "envelope",
        title: "Envelope",
        about: "Reads one message and writes it with the sender that the server knows. A set has 256 different \
                messages.",
        columns: COMPARED,
        plots: &[],
    },
    Section {
        bench: "record",
        title: "Record",
        about: "Records one message by type, protocol and application: at least five counters and four histograms. \
                Corelane keeps more figures of a message than any peer, and six more with a client. All threads \
                record at once, each on its own core if there are enough cores; otherwise threads share cores. The \
                figure is processor time per record, averaged over the threads; sleeping on a lock is not charged. \
                `own recorder` is `Monitor::recorder`, with which the peers are compared; `shared cells` is \
                `Monitor::record_labelled`, from any thread.",
        columns: COMPARED,
        plots: &[],
    },
    Section {
        bench: "record-threads",
        title: "Record: many threads against one",
        about: "From the same rounds: the cost of a record for each of several concurrent threads, compared with the \
                cost for one thread alone. **Here 1 is perfect, and less is better.** Plain additions to memory that \
                is not shared show the machine's own part.",
        columns: ["what", "threads", "together", "alone", "together ÷ alone"],
        plots: &[],
    },
    Section {
        bench: "server",
        title: "Server",
        about: "16 pairs of WebSocket connections on loopback; messages of 200 bytes. `one in flight`: each pair \
                waits for the delivery of a message before it sends the next. `pipelined`: each pair sends 32 at \
                once. CPU-second: the server's processor time, kernel included. With equal threads each server has \
                that number of threads and may use only that number of cores; corelane's network thread and worker \
                share the core if there is one. `defaults`: as its users start it. matchbox_server speaks its own \
                protocol. The client program takes a core for itself, so rates per second on two cores depend on it. \
                Open loop: all servers get the same schedule, a share of the slowest one's rate with one in flight.",
        columns: COMPARED,
        plots: &["server-50"],
    },
    Section {
        bench: "server-go",
        title: "Server in Go",
        about: "The same with the server of go/examples on corelane's side. With equal threads Go runs on that many threads \
                (GOMAXPROCS), corelane's workers are further threads, and all share that number of cores. The server in Rust \
                has its worker on the network thread. peerjs-go is the server of github.com/muka/peerjs-go, with its log \
                turned down to errors; scripts/bench.sh builds it from a checkout.",
        columns: COMPARED,
        plots: &[],
    },
];

/// The heading and the text of what was not compared in pairs.
pub const IDLE: (&str, &str) = (
    "Idle",
    "What clients cost that do nothing. `added`: the growth of the resident memory per connection; `all`: the whole \
     process, divided by the connections. Corelane reserves its memory at the start, for as many clients as its limit \
     allows. `ms CPU/s`: processor time of the process.",
);
