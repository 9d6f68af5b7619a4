// boneyard.hpp against a running server: raii ADDRESS. C++17.
#include "boneyard.hpp"

#include <cstdio>
#include <cstdlib>
#include <thread>

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            std::fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition);  \
            std::exit(1);                                                             \
        }                                                                             \
    } while (0)

namespace {

template <class Run> boneyard::Error error_of(Run run) {
    try {
        run();
    } catch (const boneyard::Error &error) {
        return error;
    }
    std::fprintf(stderr, "nothing was thrown\n");
    std::exit(1);
}

void calls(const std::string &address) {
    boneyard::Client client(address);
    boneyard::Reply reply = client.call("server.echo", "{\"id\": 1}");
    CHECK(reply.text() == "{\"id\": 1}");
    reply = client.call("server.ping");
    CHECK(reply.text() == "null");
    boneyard::Error error = error_of([&] { client.call("server.pign"); });
    CHECK(error.status() == BONEYARD_UNKNOWN_METHOD && error.never_started());
    CHECK(std::string(error.what()).find("server.ping") != std::string::npos);
    CHECK(error_of([] { boneyard::Client("a b"); }).blame() == BONEYARD_BLAME_CALLER);
}

void pipelining(const std::string &address) {
    boneyard_options options = boneyard::Client::options();
    options.deadline_ms = 30000;
    boneyard::Client client(std::vector<std::string>{"127.0.0.1:1", address}, &options);
    std::vector<boneyard::Pending> out;
    for (int n = 0; n < 20; n++) out.push_back(client.start("server.echo", std::to_string(n)));
    boneyard::Client moved = std::move(client);
    for (int n = 0; n < 20; n++) CHECK(out[n].wait().text() == std::to_string(n));
    boneyard::Pending slow = moved.start("load.sleep", "1000");
    CHECK(!slow.wait_for(0));
    std::thread([&] { CHECK(moved.call("server.echo", "5").text() == "5"); }).join();
    CHECK(error_of([&] { client.call("server.ping"); }).status() == BONEYARD_INVALID_HANDLE);
}

void sessions(const std::string &address) {
    boneyard::Client client(address), other(address);
    boneyard::Session session = client.session();
    CHECK(session.call("server.echo", "1").text() == "1");
    boneyard::Session attached = other.attach(session.detach());
    attached.close();
    CHECK(error_of([&] { attached.call("server.ping"); }).status() == BONEYARD_INVALID_HANDLE);
    other.session();
}

} // namespace

int main(int count, char **words) {
    if (count < 2) return 2;
    calls(words[1]);
    pipelining(words[1]);
    sessions(words[1]);
    CHECK(boneyard_handles() == 0);
    {
        boneyard::Client client(words[1]);
        CHECK(error_of([] { boneyard::settle(0); }).status() == BONEYARD_IN_USE);
    }
    // The threads of clients that are gone are, to whoever looks for leaks, until they have ended too.
    CHECK(boneyard::settle(30000));
    std::puts("raii: all held");
}
