// The queues in C++ behind a C interface: a call per batch, as ring.rs makes it on every side. The measured loop, the
// messages and the check of their words are ring.rs's. Compiled by scripts/bench.sh.
#include <boost/lockfree/spsc_queue.hpp>
#include <readerwriterqueue/readerwriterqueue.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

template <std::size_t N>
using Message = std::array<unsigned char, N>;

template <std::size_t N>
std::uint64_t words(const Message<N> &message) {
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < N; at += 8) {
        std::uint64_t word;
        std::memcpy(&word, message.data() + at, 8);
        sum += word;
    }
    return sum;
}

template <std::size_t N>
struct Boost {
    boost::lockfree::spsc_queue<Message<N>> queue;

    explicit Boost(std::size_t slots) : queue(slots) {}

    std::size_t send(const Message<N> *messages, std::size_t count) { return queue.push(messages, count); }

    // Takes all that are there, in place: its only way to publish once per batch without a copy.
    std::size_t receive(std::size_t, std::uint64_t *sum) {
        std::uint64_t added = 0;
        const auto add = [&added](const Message<N> &message) { added += words<N>(message); };
        const std::size_t count = queue.consume_all(add);
        *sum += added;
        return count;
    }
};

template <std::size_t N>
struct ReaderWriter {
    moodycamel::ReaderWriterQueue<Message<N>> queue;

    explicit ReaderWriter(std::size_t slots) : queue(slots) {}

    std::size_t send(const Message<N> *messages, std::size_t count) {
        std::size_t sent = 0;
        while (sent < count && queue.try_enqueue(messages[sent])) ++sent;
        return sent;
    }

    std::size_t receive(std::size_t limit, std::uint64_t *sum) {
        std::size_t count = 0;
        for (; count < limit; ++count) {
            const Message<N> *message = queue.peek();
            if (message == nullptr) break;
            *sum += words<N>(*message);
            queue.pop();
        }
        return count;
    }
};

} // namespace

#define QUEUE(NAME, TYPE, N)                                                                                  \
    extern "C" void *NAME##_##N##_new(std::size_t slots) { return new TYPE<N>(slots); }                       \
    extern "C" void NAME##_##N##_delete(void *queue) { delete static_cast<TYPE<N> *>(queue); }                \
    extern "C" std::size_t NAME##_##N##_send(void *queue, const unsigned char *messages, std::size_t count) { \
        return static_cast<TYPE<N> *>(queue)->send(reinterpret_cast<const Message<N> *>(messages), count);    \
    }                                                                                                         \
    extern "C" std::size_t NAME##_##N##_receive(void *queue, std::size_t limit, std::uint64_t *sum) {         \
        return static_cast<TYPE<N> *>(queue)->receive(limit, sum);                                            \
    }

#define SIZES(NAME, TYPE) QUEUE(NAME, TYPE, 56) QUEUE(NAME, TYPE, 248) QUEUE(NAME, TYPE, 1016)

SIZES(boost, Boost)
SIZES(readerwriter, ReaderWriter)
