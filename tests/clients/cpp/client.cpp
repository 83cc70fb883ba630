// Drives a server through the library that CONNECTION_HEADER wraps and reports every check as TAP.
// Started as: client HOST PORT PASSWORD DIRECTORY

// Defines Reply and Connection, which throws ConnectionError.
#include CONNECTION_HEADER

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <iostream>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using std::string;
using std::vector;
using Clock = std::chrono::steady_clock;

namespace {

string host, password;
int port, open_port;

// The server answered with an error.
struct ServerError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

string text_of(const string &text) { return text; }
string text_of(const char *text) { return text; }
template <typename Number> string text_of(Number number) {
    std::ostringstream text;
    text << number;
    return text.str();
}

// A connection that is logged in.
class Session {
  public:
    Session(int to_port, const string &with_password) : connection_(host, to_port) { log_in(with_password); }
    Session() : Session(port, password) {}

    // Sends a command and returns its reply; throws ServerError when that is an error.
    template <typename... Arguments> Reply operator()(const Arguments &...arguments) {
        append(arguments...);
        Reply reply = read();
        if (reply.is_error())
            throw ServerError(reply);
        return reply;
    }

    // Puts a command into the output without waiting for its reply.
    template <typename... Arguments> void append(const Arguments &...arguments) {
        connection_.append({text_of(arguments)...});
    }

    Reply read() { return connection_.read(); }

    void reconnect() {
        connection_.reconnect();
        log_in(password);
    }

  private:
    void log_in(const string &with_password) {
        if (!with_password.empty())
            (*this)("AUTH", with_password);
    }

    Connection connection_;
};

int reported = 0, failed = 0;

void expect_at(int line, bool condition, const string &what) {
    if (!condition)
        throw std::runtime_error("line " + std::to_string(line) + ": " + what);
}

template <typename Value> void equal_at(int line, const Value &got, const Value &wanted, const string &what) {
    expect_at(line, got == wanted, what + " is something else");
}

#define EXPECT(condition) expect_at(__LINE__, condition, #condition)
#define TEXT(reply, wanted) equal_at<string>(__LINE__, reply, wanted, #reply)
#define INTEGER(reply, wanted) equal_at<long long>(__LINE__, reply, wanted, #reply)
#define LIST(reply, ...) equal_at<vector<string>>(__LINE__, reply, __VA_ARGS__, #reply)
#define NIL(reply) expect_at(__LINE__, (reply).is_nil(), #reply " is not nil")
#define ERROR(call, beginning)                                                                                         \
    try {                                                                                                              \
        call;                                                                                                          \
        expect_at(__LINE__, false, #call " raised no error");                                                          \
    } catch (const ServerError &error) {                                                                               \
        expect_at(__LINE__, string(error.what()).rfind(beginning, 0) == 0, error.what());                              \
    }

using List = vector<string>;

void check(const string &name, const std::function<void()> &body) {
    string problem;
    try {
        body();
    } catch (const std::exception &error) {
        problem = error.what();
        failed++;
    }
    std::cout << (problem.empty() ? "ok " : "not ok ") << ++reported << " - " << name << std::endl;
    if (!problem.empty())
        std::cout << "# " << problem << std::endl;
}

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

template <typename Condition> void wait_while(Condition condition) {
    auto begin = Clock::now();
    while (condition() && seconds_since(begin) < 10)
        std::this_thread::sleep_for(5ms);
}

void connections(Session &db) {
    check("connect", [] {
        Session open(open_port, "");
        TEXT(open("PING"), "PONG");
        TEXT(open("ECHO", "hello"), "hello");
    });
    check("auth", [] {
        Session unknown(port, "");
        ERROR(unknown("GET", "k"), "NOAUTH Authentication required");
        TEXT(unknown("AUTH", password), "OK");
        TEXT(unknown("PING"), "PONG");
        TEXT(unknown("AUTH", "default", password), "OK");
    });
    check("wrong password error", [] {
        ERROR(Session(port, "no such password"), "WRONGPASS invalid username-password pair");
        Session unknown(port, "");
        ERROR(unknown("AUTH", "no such password"), "WRONGPASS");
        ERROR(unknown("PING"), "NOAUTH");
    });
    check("select database isolation", [&] {
        db("SET", "where", "zero");
        TEXT(db("SELECT", 3), "OK");
        NIL(db("GET", "where"));
        db("SET", "where", "three");
        INTEGER(db("DBSIZE"), 1);
        ERROR(db("SELECT", 1000), "ERR DB index is out of range");
        db("SELECT", 0);
        TEXT(db("GET", "where"), "zero");
    });
}

void strings(Session &db) {
    check("strings", [&] {
        TEXT(db("SET", "s", "value"), "OK");
        TEXT(db("GET", "s"), "value");
        NIL(db("SET", "s", "other", "NX"));
        TEXT(db("SET", "s", "other", "GET"), "value");
        INTEGER(db("APPEND", "s", "s"), 6);
        TEXT(db("GETRANGE", "s", 1, 3), "the");
        TEXT(db("MSET", "s1", "one", "s2", "two"), "OK");
        LIST(db("MGET", "s1", "nosuch", "s2"), List{"one", "(nil)", "two"});
        INTEGER(db("DEL", "s", "s1", "s2", "nosuch"), 3);
    });
    check("counters", [&] {
        INTEGER(db("INCR", "n"), 1);
        INTEGER(db("INCRBY", "n", 9223372036854775000), 9223372036854775001);
        ERROR(db("INCRBY", "n", 1000), "ERR increment or decrement would overflow");
        INTEGER(db("DECRBY", "n", 9223372036854775000), 1);
        TEXT(db("INCRBYFLOAT", "n", 0.5), "1.5");
        ERROR(db("INCR", "n"), "ERR value is not an integer or out of range");
    });
    check("binary-safe keys and values", [&] {
        string all(256, '\0');
        std::iota(all.begin(), all.end(), '\0');
        TEXT(db("SET", all, all), "OK");
        TEXT(db("GET", all), all);
        LIST(db("KEYS", string("\0\1*", 3)), List{all});
        TEXT(db("SET", "", ""), "OK");
        TEXT(db("GET", ""), "");
        INTEGER(db("DEL", ""), 1);
        string big;
        for (int i = 0; i < 4096; i++)
            big += all;
        TEXT(db("SET", "big", big), "OK");
        TEXT(db("GET", "big"), big);
        string longest(65536, 'k');
        db("SET", longest, "long key");
        TEXT(db("GET", longest), "long key");
    });
}

void collections(Session &db) {
    check("hashes", [&] {
        INTEGER(db("HSET", "h", "a", 1, "b", 2, "c", 3), 3);
        TEXT(db("HGET", "h", "b"), "2");
        NIL(db("HGET", "h", "nosuch"));
        LIST(db("HGETALL", "h"), List{"a", "1", "b", "2", "c", "3"});
        LIST(db("HMGET", "h", "c", "nosuch"), List{"3", "(nil)"});
        INTEGER(db("HINCRBY", "h", "a", 41), 42);
        INTEGER(db("HDEL", "h", "b", "c", "nosuch"), 2);
        INTEGER(db("HLEN", "h"), 1);
    });
    check("lists", [&] {
        INTEGER(db("RPUSH", "l", "a", "b", "c"), 3);
        INTEGER(db("LPUSH", "l", "z"), 4);
        LIST(db("LRANGE", "l", 0, -1), List{"z", "a", "b", "c"});
        TEXT(db("LPOP", "l"), "z");
        LIST(db("RPOP", "l", 2), List{"c", "b"});
        TEXT(db("LINDEX", "l", 0), "a");
        TEXT(db("LMOVE", "l", "l2", "LEFT", "RIGHT"), "a");
        INTEGER(db("EXISTS", "l"), 0);
    });
    check("sets", [&] {
        INTEGER(db("SADD", "s1", "a", "b", "c", "a"), 3);
        INTEGER(db("SADD", "s2", "b", "c", "d"), 3);
        INTEGER(db("SISMEMBER", "s1", "a"), 1);
        List both = db("SINTER", "s1", "s2");
        EXPECT((std::set<string>(both.begin(), both.end()) == std::set<string>{"b", "c"}));
        INTEGER(db("SUNIONSTORE", "s3", "s1", "s2"), 4);
        LIST(db("SDIFF", "s1", "s2"), List{"a"});
        INTEGER(db("SREM", "s1", "a", "nosuch"), 1);
        INTEGER(db("SCARD", "s1"), 2);
    });
    check("sorted sets", [&] {
        INTEGER(db("ZADD", "z", 1, "a", 2.5, "b", "-inf", "c"), 3);
        LIST(db("ZRANGE", "z", 0, -1, "WITHSCORES"), List{"c", "-inf", "a", "1", "b", "2.5"});
        TEXT(db("ZSCORE", "z", "b"), "2.5");
        TEXT(db("ZINCRBY", "z", 2, "a"), "3");
        INTEGER(db("ZRANK", "z", "a"), 2);
        LIST(db("ZRANGE", "z", "(2.5", "+inf", "BYSCORE"), List{"a"});
        LIST(db("ZPOPMIN", "z"), List{"c", "-inf"});
        INTEGER(db("ZCARD", "z"), 2);
    });
    check("expiry", [&] {
        TEXT(db("SET", "e", "v", "EX", 100), "OK");
        long long ttl = db("TTL", "e");
        EXPECT(ttl >= 99 && ttl <= 100);
        INTEGER(db("PERSIST", "e"), 1);
        INTEGER(db("TTL", "e"), -1);
        INTEGER(db("PEXPIRE", "e", 30), 1);
        wait_while([&] { return static_cast<long long>(db("EXISTS", "e")) == 1; });
        NIL(db("GET", "e"));
        INTEGER(db("TTL", "e"), -2);
    });
}

void groups_of_commands(Session &db) {
    check("pipeline of 10,000 commands", [&] {
        for (int i = 0; i < 10000; i++)
            db.append("INCRBY", "pipelined", i % 7);
        long long sum = 0;
        for (int i = 0; i < 10000; i++) {
            sum += i % 7;
            INTEGER(db.read(), sum);
        }
        TEXT(db("GET", "pipelined"), std::to_string(sum));
    });
    check("MULTI/EXEC", [&] {
        TEXT(db("MULTI"), "OK");
        TEXT(db("SET", "t", 1), "QUEUED");
        TEXT(db("INCR", "t"), "QUEUED");
        TEXT(db("LPOP", "t"), "QUEUED");
        TEXT(db("INCR", "t"), "QUEUED");
        Reply results = db("EXEC");
        TEXT(results[0], "OK");
        INTEGER(results[1], 2);
        EXPECT(results[2].is_error() && string(results[2]).rfind("WRONGTYPE", 0) == 0);
        INTEGER(results[3], 3);
        db("MULTI");
        ERROR(db("GET"), "ERR wrong number of arguments for 'get' command");
        ERROR(db("EXEC"), "EXECABORT");
        db("MULTI");
        db("INCR", "t");
        TEXT(db("DISCARD"), "OK");
        TEXT(db("GET", "t"), "3");
    });
    check("WATCH conflict", [&] {
        Session other;
        db("SET", "w", 1);
        TEXT(db("WATCH", "w"), "OK");
        other("INCR", "w");
        db("MULTI");
        db("SET", "w", 100);
        NIL(db("EXEC"));
        TEXT(db("GET", "w"), "2");
        db("WATCH", "w");
        db("MULTI");
        db("SET", "w", 100);
        LIST(db("EXEC"), List{"OK"});
    });
}

void waiting(Session &db) {
    check("publish/subscribe message", [&] {
        Session subscriber;
        TEXT(subscriber("SUBSCRIBE", "news")[0], "subscribe");
        INTEGER(db("PUBLISH", "news", string("a\0b", 3)), 1);
        LIST(subscriber.read(), List{"message", "news", string("a\0b", 3)});
        INTEGER(subscriber("UNSUBSCRIBE", "news")[2], 0);
        TEXT(subscriber("PING"), "PONG");
    });
    check("publish/subscribe pattern", [&] {
        Session subscriber;
        TEXT(subscriber("PSUBSCRIBE", "n?ws.*")[1], "n?ws.*");
        INTEGER(db("PUBLISH", "nws.art", "hello"), 0);
        INTEGER(db("PUBLISH", "news.art", "hello"), 1);
        LIST(subscriber.read(), List{"pmessage", "n?ws.*", "news.art", "hello"});
    });
    // The other side is a thread with a connection of its own.
    check("blocking pop queue between two processes", [&] {
        auto worker = std::async(std::launch::async, [] {
            Session own;
            for (int i = 0; i < 3; i++)
                own("RPUSH", "done", "did-" + string(own("BLPOP", "jobs", 10)[1]));
        });
        wait_while([&] { return string(db("INFO", "clients")).find("blocked_clients:1") == string::npos; });
        INTEGER(db("RPUSH", "jobs", "one"), 1);
        LIST(db("BLPOP", "done", 10), List{"done", "did-one"});
        db("RPUSH", "jobs", "two", "three");
        LIST(db("BLPOP", "done", 10), List{"done", "did-two"});
        LIST(db("BLPOP", "done", 10), List{"done", "did-three"});
        worker.get();
    });
    check("blocking pop timeout", [&] {
        auto begin = Clock::now();
        NIL(db("BLPOP", "nosuch", 0.2));
        EXPECT(seconds_since(begin) > 0.19 && seconds_since(begin) < 5);
        NIL(db("BRPOPLPUSH", "nosuch", "other", 0.05));
    });
}

void scripts(Session &db) {
    check("EVAL", [&] {
        Reply reply = db("EVAL",
                         "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}", 1,
                         "k", "v");
        TEXT(reply[0], "v");
        INTEGER(reply[1], 42);
        NIL(reply[2][0]);
        ERROR(db("EVAL", "return redis.error_reply('MINE it went wrong')", 0), "MINE it went wrong");
        ERROR(db("EVAL", "return +", 0), "ERR Error compiling script");
    });
    check("EVALSHA/NOSCRIPT", [&] {
        string sha = db("SCRIPT", "LOAD", "return ARGV[1] * 2");
        EXPECT(sha.size() == 40);
        INTEGER(db("EVALSHA", sha, 0, 21), 42);
        INTEGER(db("SCRIPT", "EXISTS", sha)[0], 1);
        TEXT(db("SCRIPT", "FLUSH"), "OK");
        ERROR(db("EVALSHA", sha, 0, 21), "NOSCRIPT No matching script");
    });
    check("SCAN loop", [&] {
        for (int i = 0; i < 1000; i++)
            db.append("SET", "scanned:" + std::to_string(i), i);
        for (int i = 0; i < 1000; i++)
            TEXT(db.read(), "OK");
        std::set<string> found;
        string cursor = "0";
        int calls = 0;
        do {
            Reply reply = db("SCAN", cursor, "MATCH", "scanned:*", "COUNT", 100);
            cursor = string(reply[0]);
            List keys = reply[1];
            found.insert(keys.begin(), keys.end());
            EXPECT(++calls < 1000);
        } while (cursor != "0");
        EXPECT(found.size() == 1000 && found.count("scanned:999") == 1);
        EXPECT(calls > 1);
    });
}

void streams(Session &db) {
    check("streams with consumer group", [&] {
        TEXT(db("XADD", "x", "1-1", "f", "a"), "1-1");
        db("XADD", "x", "1-2", "f", "b");
        db("XADD", "x", "*", "f", "c");
        TEXT(db("XGROUP", "CREATE", "x", "g", 0), "OK");
        ERROR(db("XGROUP", "CREATE", "x", "g", 0), "BUSYGROUP");
        Reply first = db("XREADGROUP", "GROUP", "g", "alice", "COUNT", 2, "STREAMS", "x", ">")[0];
        TEXT(first[0], "x");
        TEXT(first[1][0][0], "1-1");
        LIST(first[1][1][1], List{"f", "b"});
        INTEGER(db("XPENDING", "x", "g")[0], 2);
        INTEGER(db("XACK", "x", "g", "1-1"), 1);
        LIST(db("XCLAIM", "x", "g", "bob", 0, "1-2")[0][1], List{"f", "b"});
        TEXT(db("XREADGROUP", "GROUP", "g", "bob", "STREAMS", "x", 0)[0][1][0][0], "1-2");
        LIST(db("XREADGROUP", "GROUP", "g", "bob", "BLOCK", 1000, "STREAMS", "x", ">")[0][1][0][1], List{"f", "c"});
        NIL(db("XREADGROUP", "GROUP", "g", "bob", "BLOCK", 30, "STREAMS", "x", ">"));
        INTEGER(db("XLEN", "x"), 3);
    });
}

#ifdef REDIS_REPLY_MAP
void resp3() {
    check("RESP3", [] {
        Session third;
        EXPECT(third("HELLO", 3).type() == REDIS_REPLY_MAP);
        third("HSET", "r", "f", "v");
        Reply map = third("HGETALL", "r");
        EXPECT(map.type() == REDIS_REPLY_MAP);
        LIST(map, List{"f", "v"});
        third("SADD", "rs", "m");
        EXPECT(third("SMEMBERS", "rs").type() == REDIS_REPLY_SET);
        third("ZADD", "rz", 1.5, "m");
        Reply score = third("ZSCORE", "rz", "m");
        EXPECT(score.type() == REDIS_REPLY_DOUBLE && score.number() == 1.5);
        Reply truth = third("EVAL", "redis.setresp(3); return true", 0);
        EXPECT(truth.type() == REDIS_REPLY_BOOL && static_cast<long long>(truth) == 1);
        Reply verbatim = third("INFO", "server");
        EXPECT(verbatim.type() == REDIS_REPLY_VERB && string(verbatim).find("redis_version:") != string::npos);
        NIL(third("GET", "nosuch"));
    });
}
#else
void resp3() { std::cout << "ok " << ++reported << " - RESP3 # SKIP the library speaks RESP2 only" << std::endl; }
#endif

void failures(Session &db) {
    check("errors", [&] {
        db("SET", "text", "v");
        ERROR(db("LPUSH", "text", "x"), "WRONGTYPE Operation against a key holding the wrong kind of value");
        ERROR(db("NOSUCH", "a", "b"), "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b'");
        ERROR(db("SET", "text", "v", "EX", "nan"), "ERR value is not an integer or out of range");
        TEXT(db("GET", "text"), "v");
    });
    check("reconnect after restart", [&] {
        db("SET", "kept", "over the restart");
        db("RPUSH", "kept-list", "a", "b");
        std::cout << "# RESTART" << std::endl;
        string line;
        EXPECT(!!std::getline(std::cin, line));
        bool lost = false;
        try {
            db("PING");
        } catch (const ConnectionError &) {
            lost = true;
        }
        EXPECT(lost);
        db.reconnect();
        TEXT(db("GET", "kept"), "over the restart");
        LIST(db("LRANGE", "kept-list", 0, -1), List{"a", "b"});
    });
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    std::signal(SIGPIPE, SIG_IGN); // a lost connection is an error of hiredis, not the end of the process
    host = argv[1];
    port = std::stoi(argv[2]);
    password = argv[3];
    const char *open = std::getenv("DISKKV_CLIENT_OPEN_PORT");
    open_port = open ? std::stoi(open) : port;
    std::cout << "# library " << Connection::library() << std::endl;
    Session db;
    db("FLUSHALL");
    connections(db);
    strings(db);
    collections(db);
    groups_of_commands(db);
    waiting(db);
    scripts(db);
    streams(db);
    resp3();
    failures(db);
    std::cout << "1.." << reported << std::endl;
    return failed ? 1 : 0;
}
