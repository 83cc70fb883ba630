/* Drives a server through hiredis and reports every check as TAP; started as: client HOST PORT PASSWORD DIRECTORY */

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEGABYTE (1024 * 1024)
#define PIPELINED 10000
#define SCANNED 1000

static const char *host, *password;
static int port;
static redisContext *db; /* the connection that most checks use */
static redisReply *last; /* the reply of the latest command; freed by the next one */

static int reported;
static bool failed, any_failed;
static char detail[512];

/* Ends the check as failed, with the condition as its detail. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fail(__LINE__, #condition);                                                                                \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

static void fail(int line, const char *condition) {
    failed = true;
    snprintf(detail, sizeof detail, "line %d: %s; the latest reply has type %d, integer %lld, text %s", line, condition,
             last ? last->type : -1, last ? last->integer : 0, last && last->str ? last->str : "(none)");
    for (char *at = detail; *at; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
}

static void check(const char *name, void (*body)(void)) {
    failed = false;
    body();
    any_failed |= failed;
    printf("%sok %d - %s\n", failed ? "not " : "", ++reported, name);
    if (failed)
        printf("# %s\n", detail);
    fflush(stdout);
}

static redisReply *keep(redisReply *reply) {
    if (last)
        freeReplyObject(last);
    return last = reply;
}

/* The reply, or NULL when the connection failed. */
static redisReply *run(redisContext *context, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    return keep(reply);
}

static redisReply *next_reply(redisContext *context) {
    void *reply = NULL;
    return keep(redisGetReply(context, &reply) == REDIS_OK ? reply : NULL);
}

static bool is_bytes(const redisReply *reply, const void *bytes, size_t size) {
    return reply && reply->type == REDIS_REPLY_STRING && (size_t)reply->len == size && !memcmp(reply->str, bytes, size);
}

static bool is_text(const redisReply *reply, const char *text) { return is_bytes(reply, text, strlen(text)); }

static bool is_integer(const redisReply *reply, long long value) {
    return reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == value;
}

static bool is_status(const redisReply *reply, const char *text) {
    return reply && reply->type == REDIS_REPLY_STATUS && !strcmp(reply->str, text);
}

static bool is_nil(const redisReply *reply) { return reply && reply->type == REDIS_REPLY_NIL; }

static bool is_error(const redisReply *reply, const char *prefix) {
    return reply && reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, prefix, strlen(prefix));
}

static bool is_array(const redisReply *reply, size_t size) {
    return reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == size;
}

/* Whether the reply is an array of these strings, given as one text with spaces between them. */
static bool is_list(const redisReply *reply, const char *texts) {
    char joined[256] = "";
    if (!reply || reply->type != REDIS_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_STRING)
            return false;
        if (i)
            strncat(joined, " ", sizeof joined - strlen(joined) - 1);
        strncat(joined, reply->element[i]->str, sizeof joined - strlen(joined) - 1);
    }
    return !strcmp(joined, texts);
}

static redisContext *open_plain(int to_port) {
    struct timeval timeout = {10, 0};
    redisContext *context = redisConnectWithTimeout(host, to_port, timeout);
    if (!context || context->err) {
        printf("Bail out! no connection to port %d: %s\n", to_port, context ? context->errstr : "no memory");
        exit(1);
    }
    redisSetTimeout(context, timeout);
    return context;
}

static redisContext *open_authenticated(void) {
    redisContext *context = open_plain(port);
    if (*password)
        freeReplyObject(redisCommand(context, "AUTH %s", password));
    return context;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void pause_ms(int ms) { nanosleep(&(struct timespec){0, ms * 1000000L}, NULL); }

static void connect_without_password(void) {
    const char *open_port = getenv("DISKKV_CLIENT_OPEN_PORT");
    redisContext *context = open_plain(open_port ? atoi(open_port) : port);
    EXPECT(is_status(run(context, "PING"), "PONG"));
    EXPECT(is_text(run(context, "ECHO %s", "hello"), "hello"));
    redisFree(context);
}

static void auth(void) {
    redisContext *context = open_plain(port);
    EXPECT(is_error(run(context, "GET k"), "NOAUTH"));
    EXPECT(is_status(run(context, "AUTH %s", password), "OK"));
    EXPECT(is_status(run(context, "PING"), "PONG"));
    EXPECT(is_status(run(context, "AUTH default %s", password), "OK"));
    redisFree(context);
}

static void wrong_password(void) {
    redisContext *context = open_plain(port);
    EXPECT(is_error(run(context, "AUTH %s", "no such password"), "WRONGPASS"));
    EXPECT(is_error(run(context, "PING"), "NOAUTH"));
    redisFree(context);
}

static void select_database(void) {
    EXPECT(is_status(run(db, "SET where zero"), "OK"));
    EXPECT(is_status(run(db, "SELECT 3"), "OK"));
    EXPECT(is_nil(run(db, "GET where")));
    EXPECT(is_status(run(db, "SET where three"), "OK"));
    EXPECT(is_integer(run(db, "DBSIZE"), 1));
    EXPECT(is_error(run(db, "SELECT 1000"), "ERR"));
    EXPECT(is_status(run(db, "SELECT 0"), "OK"));
    EXPECT(is_text(run(db, "GET where"), "zero"));
}

static void strings(void) {
    EXPECT(is_status(run(db, "SET s %s", "value"), "OK"));
    EXPECT(is_text(run(db, "GET s"), "value"));
    EXPECT(is_nil(run(db, "SET s other NX")));
    EXPECT(is_text(run(db, "SET s other GET"), "value"));
    EXPECT(is_integer(run(db, "APPEND s s"), 6));
    EXPECT(is_text(run(db, "GETRANGE s 1 3"), "the"));
    EXPECT(is_status(run(db, "MSET s1 one s2 two"), "OK"));
    EXPECT(is_array(run(db, "MGET s1 nosuch s2"), 3));
    EXPECT(is_text(last->element[0], "one") && is_nil(last->element[1]) && is_text(last->element[2], "two"));
    EXPECT(is_integer(run(db, "DEL s s1 s2 nosuch"), 3));
}

static void counters(void) {
    EXPECT(is_integer(run(db, "INCR n"), 1));
    EXPECT(is_integer(run(db, "INCRBY n %lld", 9223372036854775000LL), 9223372036854775001LL));
    EXPECT(is_error(run(db, "INCRBY n 1000"), "ERR increment or decrement would overflow"));
    EXPECT(is_integer(run(db, "DECRBY n 9223372036854775000"), 1));
    EXPECT(is_text(run(db, "INCRBYFLOAT n 0.5"), "1.5"));
    EXPECT(is_error(run(db, "INCR n"), "ERR value is not an integer or out of range"));
}

static void binary(void) {
    unsigned char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    EXPECT(is_status(run(db, "SET %b %b", all, sizeof all, all, sizeof all), "OK"));
    EXPECT(is_bytes(run(db, "GET %b", all, sizeof all), all, sizeof all));
    EXPECT(is_array(run(db, "KEYS %b*", "\0\1", (size_t)2), 1) && is_bytes(last->element[0], all, sizeof all));
    EXPECT(is_status(run(db, "SET %b %b", "", (size_t)0, "", (size_t)0), "OK"));
    EXPECT(is_bytes(run(db, "GET %b", "", (size_t)0), "", 0));
    EXPECT(is_integer(run(db, "DEL %b", "", (size_t)0), 1));
    char *big = malloc(MEGABYTE);
    for (int i = 0; i < MEGABYTE; i++)
        big[i] = (char)(i * 31 + i / 257);
    EXPECT(is_status(run(db, "SET big %b", big, (size_t)MEGABYTE), "OK"));
    EXPECT(is_bytes(run(db, "GET big"), big, MEGABYTE));
    EXPECT(is_status(run(db, "SET %b long-key", big, (size_t)(MEGABYTE / 16)), "OK"));
    EXPECT(is_text(run(db, "GET %b", big, (size_t)(MEGABYTE / 16)), "long-key"));
    free(big);
}

static void hashes(void) {
    EXPECT(is_integer(run(db, "HSET h a 1 b 2 c 3"), 3));
    EXPECT(is_text(run(db, "HGET h b"), "2"));
    EXPECT(is_nil(run(db, "HGET h nosuch")));
    EXPECT(is_list(run(db, "HGETALL h"), "a 1 b 2 c 3"));
    EXPECT(is_integer(run(db, "HINCRBY h a 41"), 42));
    EXPECT(is_integer(run(db, "HDEL h b c nosuch"), 2));
    EXPECT(is_integer(run(db, "HLEN h"), 1));
}

static void lists(void) {
    EXPECT(is_integer(run(db, "RPUSH l a b c"), 3));
    EXPECT(is_integer(run(db, "LPUSH l z"), 4));
    EXPECT(is_list(run(db, "LRANGE l 0 -1"), "z a b c"));
    EXPECT(is_text(run(db, "LPOP l"), "z"));
    EXPECT(is_list(run(db, "RPOP l 2"), "c b"));
    EXPECT(is_text(run(db, "LINDEX l 0"), "a"));
    EXPECT(is_text(run(db, "LMOVE l l2 LEFT RIGHT"), "a"));
    EXPECT(is_integer(run(db, "EXISTS l"), 0));
}

static void sets(void) {
    EXPECT(is_integer(run(db, "SADD s1 a b c a"), 3));
    EXPECT(is_integer(run(db, "SADD s2 b c d"), 3));
    EXPECT(is_integer(run(db, "SISMEMBER s1 a"), 1));
    EXPECT(is_array(run(db, "SINTER s1 s2"), 2));
    EXPECT(is_integer(run(db, "SUNIONSTORE s3 s1 s2"), 4));
    EXPECT(is_list(run(db, "SDIFF s1 s2"), "a"));
    EXPECT(is_integer(run(db, "SREM s1 a nosuch"), 1));
    EXPECT(is_integer(run(db, "SCARD s1"), 2));
}

static void sorted_sets(void) {
    EXPECT(is_integer(run(db, "ZADD z 1 a 2.5 b -inf c"), 3));
    EXPECT(is_list(run(db, "ZRANGE z 0 -1 WITHSCORES"), "c -inf a 1 b 2.5"));
    EXPECT(is_text(run(db, "ZSCORE z b"), "2.5"));
    EXPECT(is_text(run(db, "ZINCRBY z 2 a"), "3"));
    EXPECT(is_integer(run(db, "ZRANK z a"), 2));
    EXPECT(is_list(run(db, "ZRANGEBYSCORE z (2.5 +inf"), "a"));
    EXPECT(is_list(run(db, "ZPOPMIN z"), "c -inf"));
    EXPECT(is_integer(run(db, "ZCARD z"), 2));
}

static void expiry(void) {
    EXPECT(is_status(run(db, "SET e v EX 100"), "OK"));
    EXPECT(run(db, "TTL e")->integer >= 99 && last->integer <= 100);
    EXPECT(is_integer(run(db, "PERSIST e"), 1));
    EXPECT(is_integer(run(db, "TTL e"), -1));
    EXPECT(is_integer(run(db, "PEXPIRE e 30"), 1));
    double deadline = seconds() + 5;
    while (is_integer(run(db, "EXISTS e"), 1) && seconds() < deadline)
        pause_ms(5);
    EXPECT(is_nil(run(db, "GET e")));
    EXPECT(is_integer(run(db, "TTL e"), -2));
}

static void pipeline(void) {
    for (int i = 0; i < PIPELINED; i++)
        redisAppendCommand(db, "INCRBY pipelined %d", i % 7);
    long long sum = 0;
    for (int i = 0; i < PIPELINED; i++) {
        sum += i % 7;
        EXPECT(is_integer(next_reply(db), sum));
    }
    EXPECT(atoll(run(db, "GET pipelined")->str) == sum);
}

static void transaction(void) {
    EXPECT(is_status(run(db, "MULTI"), "OK"));
    EXPECT(is_status(run(db, "SET t 1"), "QUEUED"));
    EXPECT(is_status(run(db, "INCR t"), "QUEUED"));
    EXPECT(is_status(run(db, "LPOP t"), "QUEUED"));
    EXPECT(is_array(run(db, "EXEC"), 3));
    EXPECT(is_status(last->element[0], "OK") && is_integer(last->element[1], 2));
    EXPECT(is_error(last->element[2], "WRONGTYPE"));
    EXPECT(is_status(run(db, "MULTI"), "OK"));
    EXPECT(is_error(run(db, "NOSUCH"), "ERR unknown command"));
    EXPECT(is_error(run(db, "EXEC"), "EXECABORT"));
    EXPECT(is_error(run(db, "EXEC"), "ERR EXEC without MULTI"));
}

static void watch_conflict(void) {
    redisContext *other = open_authenticated();
    EXPECT(is_status(run(db, "SET w 1"), "OK"));
    EXPECT(is_status(run(db, "WATCH w"), "OK"));
    EXPECT(is_integer(run(other, "INCR w"), 2));
    EXPECT(is_status(run(db, "MULTI"), "OK"));
    EXPECT(is_status(run(db, "SET w 100"), "QUEUED"));
    EXPECT(is_nil(run(db, "EXEC")));
    EXPECT(is_text(run(db, "GET w"), "2"));
    EXPECT(is_status(run(db, "WATCH w"), "OK"));
    EXPECT(is_status(run(db, "MULTI"), "OK"));
    EXPECT(is_status(run(db, "SET w 100"), "QUEUED"));
    EXPECT(is_array(run(db, "EXEC"), 1));
    redisFree(other);
}

static void message(void) {
    redisContext *subscriber = open_authenticated();
    EXPECT(is_array(run(subscriber, "SUBSCRIBE news"), 3) && is_integer(last->element[2], 1));
    EXPECT(is_integer(run(db, "PUBLISH news %b", "a\0b", (size_t)3), 1));
    EXPECT(is_array(next_reply(subscriber), 3));
    EXPECT(is_text(last->element[0], "message") && is_text(last->element[1], "news"));
    EXPECT(is_bytes(last->element[2], "a\0b", 3));
    EXPECT(is_array(run(subscriber, "UNSUBSCRIBE news"), 3) && is_integer(last->element[2], 0));
    EXPECT(is_status(run(subscriber, "PING"), "PONG"));
    redisFree(subscriber);
}

static void pattern(void) {
    redisContext *subscriber = open_authenticated();
    EXPECT(is_array(run(subscriber, "PSUBSCRIBE n?ws.*"), 3) && is_integer(last->element[2], 1));
    EXPECT(is_integer(run(db, "PUBLISH news.art hello"), 1));
    EXPECT(is_integer(run(db, "PUBLISH nws.art hello"), 0));
    EXPECT(is_list(next_reply(subscriber), "pmessage n?ws.* news.art hello"));
    redisFree(subscriber);
}

/* The other process: takes three jobs from the queue, and answers each. */
static void work(void) {
    redisContext *own = open_authenticated();
    for (int i = 0; i < 3; i++) {
        if (!is_array(run(own, "BLPOP jobs 10"), 2))
            _exit(1);
        char job[32];
        snprintf(job, sizeof job, "%s", last->element[1]->str);
        run(own, "RPUSH done did-%s", job);
    }
    _exit(0);
}

static void queue(void) {
    pid_t worker = fork();
    if (worker == 0)
        work();
    double deadline = seconds() + 10;
    while (!strstr(run(db, "INFO clients")->str, "blocked_clients:1") && seconds() < deadline)
        pause_ms(5);
    EXPECT(is_integer(run(db, "RPUSH jobs one"), 1));
    EXPECT(is_list(run(db, "BLPOP done 10"), "done did-one"));
    EXPECT(run(db, "RPUSH jobs two three")->type == REDIS_REPLY_INTEGER);
    EXPECT(is_list(run(db, "BLPOP done 10"), "done did-two"));
    EXPECT(is_list(run(db, "BLPOP done 10"), "done did-three"));
    int status = -1;
    EXPECT(waitpid(worker, &status, 0) == worker && status == 0);
}

static void blocking_timeout(void) {
    double begin = seconds();
    EXPECT(is_nil(run(db, "BLPOP nosuch 0.2")));
    EXPECT(seconds() - begin > 0.19 && seconds() - begin < 5);
    EXPECT(is_nil(run(db, "BRPOPLPUSH nosuch other 0.05")));
}

static void eval(void) {
    const char *script = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}";
    EXPECT(is_array(run(db, "EVAL %s 1 k v", script), 3));
    EXPECT(is_text(last->element[0], "v") && is_integer(last->element[1], 42));
    EXPECT(is_array(last->element[2], 1) && is_nil(last->element[2]->element[0]));
    EXPECT(is_error(run(db, "EVAL %s 0", "return redis.error_reply('MINE it went wrong')"), "MINE it went wrong"));
    EXPECT(is_error(run(db, "EVAL %s 0", "return +"), "ERR Error compiling script"));
}

static void evalsha(void) {
    char sha[64];
    EXPECT(run(db, "SCRIPT LOAD %s", "return ARGV[1] * 2")->len == 40);
    snprintf(sha, sizeof sha, "%s", last->str);
    EXPECT(is_integer(run(db, "EVALSHA %s 0 21", sha), 42));
    EXPECT(is_status(run(db, "SCRIPT FLUSH"), "OK"));
    EXPECT(is_error(run(db, "EVALSHA %s 0 21", sha), "NOSCRIPT"));
}

static void scan(void) {
    bool seen[SCANNED] = {false};
    for (int i = 0; i < SCANNED; i++)
        redisAppendCommand(db, "SET scanned:%d %d", i, i);
    for (int i = 0; i < SCANNED; i++)
        EXPECT(is_status(next_reply(db), "OK"));
    char cursor[32] = "0";
    int calls = 0, found = 0;
    do {
        EXPECT(is_array(run(db, "SCAN %s MATCH scanned:* COUNT 100", cursor), 2));
        snprintf(cursor, sizeof cursor, "%s", last->element[0]->str);
        for (size_t i = 0; i < last->element[1]->elements; i++) {
            bool *mark = &seen[atoi(last->element[1]->element[i]->str + strlen("scanned:")) % SCANNED];
            found += !*mark;
            *mark = true;
        }
        EXPECT(++calls < 1000);
    } while (strcmp(cursor, "0"));
    EXPECT(found == SCANNED);
    EXPECT(calls > 1);
}

static void streams(void) {
    EXPECT(is_text(run(db, "XADD x 1-1 f a"), "1-1"));
    EXPECT(is_text(run(db, "XADD x 1-2 f b"), "1-2"));
    EXPECT(run(db, "XADD x * f c")->type == REDIS_REPLY_STRING);
    EXPECT(is_status(run(db, "XGROUP CREATE x g 0"), "OK"));
    EXPECT(is_error(run(db, "XGROUP CREATE x g 0"), "BUSYGROUP"));
    EXPECT(is_array(run(db, "XREADGROUP GROUP g alice COUNT 2 STREAMS x >"), 1));
    redisReply *entries = last->element[0]->element[1];
    EXPECT(is_array(entries, 2) && is_text(entries->element[0]->element[0], "1-1"));
    EXPECT(is_list(entries->element[1]->element[1], "f b"));
    EXPECT(is_array(run(db, "XPENDING x g"), 4) && is_integer(last->element[0], 2));
    EXPECT(is_integer(run(db, "XACK x g 1-1"), 1));
    EXPECT(is_array(run(db, "XCLAIM x g bob 0 1-2"), 1));
    EXPECT(is_array(run(db, "XREADGROUP GROUP g bob STREAMS x 0"), 1));
    EXPECT(is_array(last->element[0]->element[1], 1));
    EXPECT(is_array(run(db, "XREADGROUP GROUP g bob BLOCK 1000 STREAMS x >"), 1));
    EXPECT(is_nil(run(db, "XREADGROUP GROUP g bob BLOCK 30 STREAMS x >")));
    EXPECT(is_integer(run(db, "XLEN x"), 3));
}

#if HIREDIS_MAJOR >= 1
static void resp3(void) {
    redisContext *context = open_authenticated();
    EXPECT(run(context, "HELLO 3")->type == REDIS_REPLY_MAP);
    EXPECT(is_integer(run(context, "HSET r f v"), 1));
    EXPECT(run(context, "HGETALL r")->type == REDIS_REPLY_MAP && is_text(last->element[1], "v"));
    EXPECT(is_integer(run(context, "SADD rs m"), 1));
    EXPECT(run(context, "SMEMBERS rs")->type == REDIS_REPLY_SET);
    EXPECT(is_integer(run(context, "ZADD rz 1.5 m"), 1));
    EXPECT(run(context, "ZSCORE rz m")->type == REDIS_REPLY_DOUBLE && last->dval == 1.5);
    EXPECT(run(context, "EVAL %s 0", "redis.setresp(3); return true")->type == REDIS_REPLY_BOOL && last->integer);
    EXPECT(is_nil(run(context, "GET nosuch")));
    redisSetPushCallback(context, NULL); /* pushed messages come as replies, in the order in which they arrive */
    EXPECT(is_status(run(context, "CLIENT TRACKING ON"), "OK"));
    EXPECT(is_text(run(context, "HGET r f"), "v"));
    EXPECT(is_integer(run(db, "HSET r f w"), 0));
    EXPECT(next_reply(context)->type == REDIS_REPLY_PUSH && is_text(last->element[0], "invalidate"));
    EXPECT(is_list(last->element[1], "r"));
    EXPECT(run(context, "SUBSCRIBE news")->type == REDIS_REPLY_PUSH);
    EXPECT(is_text(run(context, "HGET r f"), "w"));
    EXPECT(is_integer(run(db, "PUBLISH news hello"), 1));
    EXPECT(next_reply(context)->type == REDIS_REPLY_PUSH && is_text(last->element[2], "hello"));
    redisFree(context);
}
#endif

static void errors(void) {
    EXPECT(is_status(run(db, "SET text v"), "OK"));
    EXPECT(is_error(run(db, "LPUSH text x"),
                    "WRONGTYPE Operation against a key holding the wrong kind of value"));
    EXPECT(is_error(run(db, "NOSUCH a b"), "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "));
    EXPECT(is_error(run(db, "GET"), "ERR wrong number of arguments for 'get' command"));
    EXPECT(is_error(run(db, "SET text v EX nan"), "ERR value is not an integer or out of range"));
    EXPECT(db->err == 0);
}

static void reconnect(void) {
    EXPECT(is_status(run(db, "SET kept %s", "over the restart"), "OK"));
    EXPECT(is_integer(run(db, "RPUSH kept-list a b"), 2));
    printf("# RESTART\n");
    fflush(stdout);
    char line[64];
    EXPECT(fgets(line, sizeof line, stdin));
    EXPECT(run(db, "PING") == NULL && (db->err == REDIS_ERR_EOF || db->err == REDIS_ERR_IO));
    EXPECT(redisReconnect(db) == REDIS_OK);
    EXPECT(!*password || is_status(run(db, "AUTH %s", password), "OK"));
    EXPECT(is_text(run(db, "GET kept"), "over the restart"));
    EXPECT(is_list(run(db, "LRANGE kept-list 0 -1"), "a b"));
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    signal(SIGPIPE, SIG_IGN); /* a lost connection is an error of hiredis, not the end of the process */
    host = argv[1];
    port = atoi(argv[2]);
    password = argv[3];
    const char *packager = HIREDIS_MAJOR < 1 ? " of Debian" : "";
    printf("# library hiredis%s %d.%d.%d\n", packager, HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    fflush(stdout);
    db = open_authenticated();
    freeReplyObject(redisCommand(db, "FLUSHALL"));
    check("connect", connect_without_password);
    check("auth", auth);
    check("wrong password error", wrong_password);
    check("select database isolation", select_database);
    check("strings", strings);
    check("counters", counters);
    check("binary-safe keys and values", binary);
    check("hashes", hashes);
    check("lists", lists);
    check("sets", sets);
    check("sorted sets", sorted_sets);
    check("expiry", expiry);
    check("pipeline of 10,000 commands", pipeline);
    check("MULTI/EXEC", transaction);
    check("WATCH conflict", watch_conflict);
    check("publish/subscribe message", message);
    check("publish/subscribe pattern", pattern);
    check("blocking pop queue between two processes", queue);
    check("blocking pop timeout", blocking_timeout);
    check("EVAL", eval);
    check("EVALSHA/NOSCRIPT", evalsha);
    check("SCAN loop", scan);
    check("streams with consumer group", streams);
#if HIREDIS_MAJOR >= 1
    check("RESP3", resp3);
#else
    printf("ok %d - RESP3 # SKIP this hiredis does not read RESP3\n", ++reported);
#endif
    check("errors", errors);
    check("reconnect after restart", reconnect);
    printf("1..%d\n", reported);
    keep(NULL);
    redisFree(db);
    return any_failed;
}
