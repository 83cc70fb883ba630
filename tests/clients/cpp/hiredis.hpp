// hiredis as C++: what client.cpp needs of a client library.

#include <hiredis/hiredis.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

// The connection failed or ended.
struct ConnectionError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A reply and what it holds; an element keeps the whole reply alive.
class Reply {
  public:
    explicit Reply(redisReply *reply) : owned_(reply, freeReplyObject), reply_(reply) {}

    int type() const { return reply_->type; }
    bool is_nil() const { return type() == REDIS_REPLY_NIL; }
    bool is_error() const { return type() == REDIS_REPLY_ERROR; }
    double number() const { return reply_->dval; }
    size_t size() const { return reply_->elements; }
    Reply operator[](size_t at) const {
        if (at >= size())
            throw std::out_of_range("the reply has only " + std::to_string(size()) + " elements");
        return Reply(owned_, reply_->element[at]);
    }

    operator std::string() const {
        if (is_nil() || !reply_->str)
            throw std::runtime_error("a reply of type " + std::to_string(type()) + " holds no text");
        return std::string(reply_->str, reply_->len);
    }

    operator long long() const {
        if (type() != REDIS_REPLY_INTEGER && type() != REDIS_REPLY_BOOL)
            throw std::runtime_error("a reply of type " + std::to_string(type()) + " is no integer");
        return reply_->integer;
    }

    operator std::vector<std::string>() const {
        std::vector<std::string> texts;
        for (size_t at = 0; at < size(); at++)
            texts.push_back((*this)[at].is_nil() ? "(nil)" : std::string((*this)[at]));
        return texts;
    }

  private:
    Reply(std::shared_ptr<redisReply> owned, redisReply *reply) : owned_(std::move(owned)), reply_(reply) {}

    std::shared_ptr<redisReply> owned_;
    redisReply *reply_;
};

class Connection {
  public:
    static std::string library() {
        return "hiredis " + std::to_string(HIREDIS_MAJOR) + '.' + std::to_string(HIREDIS_MINOR) + '.' +
               std::to_string(HIREDIS_PATCH);
    }

    Connection(const std::string &host, int port)
        : context_(redisConnectWithTimeout(host.c_str(), port, {10, 0}), redisFree) {
        check(context_ && !context_->err);
        redisSetTimeout(context_.get(), {20, 0});
    }

    void append(const std::vector<std::string> &texts) {
        std::vector<const char *> starts;
        std::vector<size_t> sizes;
        for (const std::string &text : texts) {
            starts.push_back(text.data());
            sizes.push_back(text.size());
        }
        redisAppendCommandArgv(context_.get(), static_cast<int>(texts.size()), starts.data(), sizes.data());
    }

    Reply read() {
        void *reply = nullptr;
        check(redisGetReply(context_.get(), &reply) == REDIS_OK);
        return Reply(static_cast<redisReply *>(reply));
    }

    void reconnect() { check(redisReconnect(context_.get()) == REDIS_OK); }

  private:
    void check(bool is_well) const {
        if (!is_well)
            throw ConnectionError(context_ ? context_->errstr : "no memory");
    }

    std::unique_ptr<redisContext, decltype(&redisFree)> context_;
};
