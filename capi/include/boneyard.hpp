// The Boneyard client for C++17: boneyard.h with owners and exceptions, and nothing else.
//
//     boneyard::Client client("localhost:1352");
//     boneyard::Reply reply = client.call("notes.read", "{\"id\": 1}");
//     std::cout << reply.text() << '\n';
//
// Each class owns one handle; it can be moved, not copied. Failures throw boneyard::Error. The thread rules are those of
// the functions in boneyard.h; one object is not to be moved or destroyed while another thread uses it.
#ifndef BONEYARD_HPP
#define BONEYARD_HPP

#include "boneyard.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace boneyard {

// The error of a call: boneyard_last_error of the thread that threw it.
class Error : public std::runtime_error {
public:
    Error(boneyard_error told, const std::string &message) : std::runtime_error(message), told_(told) {}

    boneyard_status status() const noexcept { return told_.status; }
    boneyard_blame blame() const noexcept { return told_.blame; }
    std::uint32_t code() const noexcept { return told_.code; }
    bool never_started() const noexcept { return told_.never_started != 0; }
    std::uint64_t retry_after_ms() const noexcept { return told_.retry_after_ms; }

    // The last failure of this thread.
    static Error last() {
        boneyard_error told;
        std::string message(boneyard_last_error(&told, nullptr, 0) + 1, '\0');
        boneyard_last_error(&told, message.data(), message.size());
        message.pop_back();
        return Error(told, message);
    }

private:
    boneyard_error told_;
};

namespace detail {

inline void check(boneyard_status status) {
    if (status != BONEYARD_OK) throw Error::last();
}

template <boneyard_status (*Free)(std::uint64_t)> class Handle {
public:
    Handle() = default;
    explicit Handle(std::uint64_t id) : id_(id) {}
    Handle(Handle &&other) noexcept : id_(std::exchange(other.id_, 0)) {}
    Handle &operator=(Handle &&other) noexcept {
        if (this != &other) {
            Free(id_);
            id_ = std::exchange(other.id_, 0);
        }
        return *this;
    }
    ~Handle() { Free(id_); }

    std::uint64_t get() const noexcept { return id_; }
    std::uint64_t release() noexcept { return std::exchange(id_, 0); }

private:
    std::uint64_t id_ = 0;
};

inline const std::uint8_t *bytes_of(std::string_view text) {
    return reinterpret_cast<const std::uint8_t *>(text.data());
}

} // namespace detail

// A result and the parts of its time.
class Reply {
public:
    Reply() = default;
    Reply(Reply &&other) noexcept : times(other.times), bytes_(std::exchange(other.bytes_, boneyard_bytes{})) {}
    Reply &operator=(Reply &&other) noexcept {
        std::swap(bytes_, other.bytes_);
        times = other.times;
        return *this;
    }
    ~Reply() { boneyard_bytes_free(&bytes_); }

    const std::uint8_t *data() const noexcept { return bytes_.data; }
    std::size_t size() const noexcept { return bytes_.length; }
    // JSON, or bincode as raw bytes. Valid as long as the Reply.
    std::string_view text() const noexcept {
        return {reinterpret_cast<const char *>(bytes_.data), bytes_.length};
    }

    boneyard_times times{};

private:
    friend class Pending;
    friend class Caller;
    boneyard_bytes bytes_{};
};

// A pending call. It is cancelled if it is destroyed before its outcome was returned.
class Pending {
public:
    // The outcome; empty if it is not there after `timeout_ms`.
    std::optional<Reply> wait_for(std::uint64_t timeout_ms) {
        Reply reply;
        boneyard_status status = boneyard_wait(handle_.get(), timeout_ms, &reply.bytes_, &reply.times);
        if (status == BONEYARD_NOT_YET) return std::nullopt;
        if (status != BONEYARD_BUSY) handle_.release();
        detail::check(status);
        return reply;
    }

    // Blocks until the outcome is there.
    Reply wait() { return std::move(*wait_for(BONEYARD_FOREVER)); }

    void cancel() { detail::check(boneyard_cancel(handle_.get())); }

private:
    friend class Caller;
    explicit Pending(boneyard_pending id) : handle_(id) {}
    detail::Handle<boneyard_pending_free> handle_;
};

// The common part of clients and sessions. Arguments are JSON unless `flags` say otherwise.
class Caller {
public:
    Reply call(const std::string &method, std::string_view arguments = "null", std::uint32_t flags = BONEYARD_JSON,
               std::uint64_t deadline_ms = BONEYARD_CLIENT_DEADLINE) const {
        Reply reply;
        detail::check(boneyard_call(id(), method.c_str(), flags, detail::bytes_of(arguments), arguments.size(),
                                    deadline_ms, &reply.bytes_, &reply.times));
        return reply;
    }

    Pending start(const std::string &method, std::string_view arguments = "null",
                  std::uint32_t flags = BONEYARD_JSON,
                  std::uint64_t deadline_ms = BONEYARD_CLIENT_DEADLINE) const {
        boneyard_pending pending = 0;
        detail::check(boneyard_start(id(), method.c_str(), flags, detail::bytes_of(arguments), arguments.size(),
                                     deadline_ms, &pending));
        return Pending(pending);
    }

protected:
    ~Caller() = default;
    Caller() = default;
    Caller(Caller &&) = default;
    Caller &operator=(Caller &&) = default;

private:
    virtual std::uint64_t id() const noexcept = 0;
};

// State on the server that outlives the connection. The destructor closes it without waiting.
class Session final : public Caller {
public:
    boneyard_ticket ticket() const {
        boneyard_ticket ticket;
        detail::check(boneyard_session_ticket(handle_.get(), &ticket));
        return ticket;
    }

    // Blocks until the server has closed it.
    void close() { detail::check(boneyard_session_close(handle_.release())); }

    // Frees it without closing it.
    boneyard_ticket detach() {
        boneyard_ticket mine = ticket();
        detail::check(boneyard_session_detach(handle_.release()));
        return mine;
    }

private:
    friend class Client;
    explicit Session(boneyard_session id) : handle_(id) {}
    std::uint64_t id() const noexcept override { return handle_.get(); }
    detail::Handle<boneyard_session_free> handle_;
};

// A service at one address or several, tried in their order.
class Client final : public Caller {
public:
    explicit Client(const std::string &address) : Client(std::vector<std::string>{address}) {}

    explicit Client(const std::vector<std::string> &addresses, const boneyard_options *options = nullptr) {
        std::vector<const char *> texts;
        for (const std::string &address : addresses) texts.push_back(address.c_str());
        boneyard_client id = 0;
        detail::check(boneyard_connect(texts.data(), texts.size(), options, &id));
        handle_ = detail::Handle<boneyard_client_free>(id);
    }

    static boneyard_options options() {
        boneyard_options options;
        detail::check(boneyard_options_init(&options, sizeof options));
        return options;
    }

    Session session() const {
        boneyard_session session = 0;
        detail::check(boneyard_session_open(handle_.get(), &session));
        return Session(session);
    }

    Session attach(const boneyard_ticket &ticket) const {
        boneyard_session session = 0;
        detail::check(boneyard_session_attach(handle_.get(), &ticket, &session));
        return Session(session);
    }

private:
    std::uint64_t id() const noexcept override { return handle_.get(); }
    detail::Handle<boneyard_client_free> handle_;
};

// Waits until the threads of clients that are destroyed have ended, before a program ends under a leak checker, or
// forks. False where they still run after `timeout_ms`. While there are clients, sessions or calls it throws.
inline bool settle(std::uint64_t timeout_ms) {
    boneyard_status status = boneyard_settle(timeout_ms);
    if (status == BONEYARD_NOT_YET) return false;
    detail::check(status);
    return true;
}

} // namespace boneyard

#endif
