// The Redis client of the POCO libraries: what client.cpp needs of a client library.

#include <Poco/Exception.h>
#include <Poco/Redis/Client.h>
#include <Poco/Redis/Error.h>
#include <Poco/Version.h>

#include <stdexcept>
#include <string>
#include <vector>

// The connection failed or ended.
struct ConnectionError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A reply and what it holds.
class Reply {
  public:
    explicit Reply(Poco::Redis::RedisType::Ptr reply) : reply_(std::move(reply)) {}

    bool is_nil() const {
        return (reply_->isBulkString() && as<Poco::Redis::BulkString>().isNull()) ||
               (reply_->isArray() && as<Poco::Redis::Array>().isNull());
    }
    bool is_error() const { return reply_->isError(); }
    Reply operator[](size_t at) const {
        Poco::Redis::Array elements = as<Poco::Redis::Array>();
        if (at >= elements.size())
            throw std::out_of_range("the reply has only " + std::to_string(elements.size()) + " elements");
        return Reply(*(elements.begin() + static_cast<std::ptrdiff_t>(at)));
    }

    operator std::string() const {
        if (reply_->isError())
            return as<Poco::Redis::Error>().getMessage();
        return reply_->isSimpleString() ? as<std::string>() : as<Poco::Redis::BulkString>().value();
    }

    operator long long() const { return as<Poco::Int64>(); }

    operator std::vector<std::string>() const {
        std::vector<std::string> texts;
        for (const auto &element : as<Poco::Redis::Array>())
            texts.push_back(Reply(element).is_nil() ? "(nil)" : std::string(Reply(element)));
        return texts;
    }

  private:
    template <typename Value> Value as() const {
        auto *held = dynamic_cast<Poco::Redis::Type<Value> *>(const_cast<Poco::Redis::RedisType *>(reply_.get()));
        if (!held)
            throw std::runtime_error("the reply is of another type: " + reply_->toString());
        return held->value();
    }

    Poco::Redis::RedisType::Ptr reply_;
};

class Connection {
    template <typename Action> static auto attempt(Action action) {
        try {
            return action();
        } catch (const Poco::Exception &error) {
            throw ConnectionError(error.displayText());
        } catch (const std::ios_base::failure &error) {
            throw ConnectionError(error.what());
        }
    }

  public:
    static std::string library() {
        return "Poco::Redis " + std::to_string(POCO_VERSION >> 24) + '.' + std::to_string(POCO_VERSION >> 16 & 255) +
               '.' + std::to_string(POCO_VERSION >> 8 & 255);
    }

    Connection(const std::string &host, int port) : host_(host), port_(port) { reconnect(); }

    void append(const std::vector<std::string> &texts) {
        Poco::Redis::Array command;
        for (const std::string &text : texts)
            command << Poco::Redis::BulkString(text);
        attempt([&] { client_.execute<void>(command); });
    }

    Reply read() {
        return attempt([&] {
            client_.flush();
            return Reply(client_.readReply());
        });
    }

    void reconnect() {
        attempt([&] {
            client_.disconnect();
            client_.connect(host_, port_, Poco::Timespan(10, 0));
            client_.setReceiveTimeout(Poco::Timespan(20, 0));
        });
    }

  private:
    std::string host_;
    int port_;
    Poco::Redis::Client client_;
};
