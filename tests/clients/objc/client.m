/* Drives a server through hiredis wrapped in an Objective-C class and reports every check as TAP.
   Started as: client HOST PORT PASSWORD DIRECTORY */

#import <Foundation/Foundation.h>

#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static NSString *const ServerError = @"ServerError";
static NSString *const ConnectionError = @"ConnectionError";
static NSString *const Failure = @"Failure";

static const char *host;
static int port;
static NSString *password;

/* One connection. Replies are NSData (bulk string), NSString (status), NSNumber, NSArray, NSNull; a server's error
   raises ServerError with its text, or stands as an NSException inside of an array. */
@interface Connection : NSObject {
    redisContext *context;
    int lastType;
}
+ (Connection *)open;
- (id)initWithPort:(int)number password:(NSString *)text;
- (id)send:(id)first, ... NS_REQUIRES_NIL_TERMINATION;
- (void)append:(NSArray *)arguments;
- (id)read;
- (int)lastType;
- (void)reconnect;
@end

static NSData *bytesOf(id value) {
    return [value isKindOfClass:[NSData class]] ? value : [[value description] dataUsingEncoding:NSUTF8StringEncoding];
}

static id objectFor(const redisReply *reply) {
    switch (reply->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_VERB:
        return [NSData dataWithBytes:reply->str length:reply->len];
    case REDIS_REPLY_STATUS:
        return [NSString stringWithUTF8String:reply->str];
    case REDIS_REPLY_INTEGER:
        return [NSNumber numberWithLongLong:reply->integer];
    case REDIS_REPLY_BOOL:
        return [NSNumber numberWithBool:reply->integer != 0];
    case REDIS_REPLY_DOUBLE:
        return [NSNumber numberWithDouble:reply->dval];
    case REDIS_REPLY_NIL:
        return [NSNull null];
    case REDIS_REPLY_ERROR:
        return [NSException exceptionWithName:ServerError
                                       reason:[NSString stringWithUTF8String:reply->str]
                                     userInfo:nil];
    default: {
        NSMutableArray *elements = [NSMutableArray array];
        for (size_t i = 0; i < reply->elements; i++)
            [elements addObject:objectFor(reply->element[i])];
        return elements;
    }
    }
}

@implementation Connection
+ (Connection *)open {
    return [[[Connection alloc] initWithPort:port password:password] autorelease];
}

- (void)check {
    if (!context || context->err)
        [NSException raise:ConnectionError format:@"%s", context ? context->errstr : "no memory"];
}

- (id)initWithPort:(int)number password:(NSString *)text {
    if ((self = [super init])) {
        struct timeval timeout = {20, 0};
        context = redisConnectWithTimeout(host, number, timeout);
        [self check];
        redisSetTimeout(context, timeout);
        if ([text length])
            [self send:@"AUTH", text, nil];
    }
    return self;
}

- (void)dealloc {
    if (context)
        redisFree(context);
    [super dealloc];
}

- (void)append:(NSArray *)arguments {
    NSUInteger count = [arguments count];
    const char *starts[count];
    size_t sizes[count];
    for (NSUInteger i = 0; i < count; i++) {
        NSData *bytes = bytesOf([arguments objectAtIndex:i]);
        starts[i] = [bytes bytes];
        sizes[i] = [bytes length];
    }
    redisAppendCommandArgv(context, (int)count, starts, sizes);
}

- (id)read {
    redisReply *reply = NULL;
    if (redisGetReply(context, (void **)&reply) != REDIS_OK)
        [self check];
    lastType = reply->type;
    id object = objectFor(reply);
    freeReplyObject(reply);
    return object;
}

- (id)send:(id)first, ... {
    NSMutableArray *arguments = [NSMutableArray array];
    va_list rest;
    va_start(rest, first);
    for (id argument = first; argument; argument = va_arg(rest, id))
        [arguments addObject:argument];
    va_end(rest);
    [self append:arguments];
    id object = [self read];
    if ([object isKindOfClass:[NSException class]])
        [object raise];
    return object;
}

- (int)lastType {
    return lastType;
}

- (void)reconnect {
    redisReconnect(context);
    [self check];
    if ([password length])
        [self send:@"AUTH", password, nil];
}
@end

/* The reply with every NSData in it as a text of the same bytes. */
static id readable(id object) {
    if ([object isKindOfClass:[NSData class]])
        return [[[NSString alloc] initWithData:object encoding:NSISOLatin1StringEncoding] autorelease];
    if ([object isKindOfClass:[NSArray class]]) {
        NSMutableArray *elements = [NSMutableArray array];
        for (id element in object)
            [elements addObject:readable(element)];
        return elements;
    }
    return object;
}

static void equal(int line, id got, id wanted) {
    if ([wanted isKindOfClass:[NSData class]] ? [got isEqual:wanted] : [readable(got) isEqual:wanted])
        return;
    [NSException raise:Failure format:@"line %d: got %@, wanted %@", line, readable(got), wanted];
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            [NSException raise:Failure format:@"line %d: %s", __LINE__, #condition];                                   \
    } while (0)
#define EQUAL(got, wanted) equal(__LINE__, got, wanted)
#define INTEGER(got, wanted) equal(__LINE__, got, [NSNumber numberWithLongLong:wanted])
#define NIL(got) equal(__LINE__, got, [NSNull null])
#define WORDS(text) [text componentsSeparatedByString:@" "]
#define LIST(...) [NSArray arrayWithObjects:__VA_ARGS__, nil]
#define CALL(connection, ...) [connection send:__VA_ARGS__, nil]
#define ERROR(call, beginning)                                                                                         \
    do {                                                                                                               \
        NSString *text = nil;                                                                                          \
        @try {                                                                                                         \
            call;                                                                                                      \
        } @catch (NSException * raised) {                                                                              \
            EXPECT([[raised name] isEqual:ServerError]);                                                               \
            text = [raised reason];                                                                                    \
        }                                                                                                              \
        if (![text hasPrefix:beginning])                                                                               \
            [NSException raise:Failure format:@"line %d: the error is %@", __LINE__, text];                            \
    } while (0)

@interface Checks : NSObject {
    Connection *db;
    int reported, failed;
}
@end

@implementation Checks
- (void)run:(const char *)name with:(SEL)selector {
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    NSString *problem = nil;
    @try {
        [self performSelector:selector];
    } @catch (NSException *raised) {
        problem = [NSString stringWithFormat:@"%@: %@", [raised name], [raised reason]];
        failed++;
    }
    printf("%sok %d - %s\n", problem ? "not " : "", ++reported, name);
    for (NSString *line in [problem componentsSeparatedByString:@"\n"])
        printf("# %s\n", [line UTF8String]);
    fflush(stdout);
    [pool release];
}

- (void)connectWithoutPassword {
    const char *number = getenv("DISKKV_CLIENT_OPEN_PORT");
    Connection *open = [[[Connection alloc] initWithPort:number ? atoi(number) : port password:@""] autorelease];
    EQUAL(CALL(open, @"PING"), @"PONG");
    EQUAL(CALL(open, @"ECHO", @"hello"), @"hello");
}

- (void)auth {
    Connection *unknown = [[[Connection alloc] initWithPort:port password:@""] autorelease];
    ERROR(CALL(unknown, @"GET", @"k"), @"NOAUTH Authentication required");
    EQUAL(CALL(unknown, @"AUTH", password), @"OK");
    EQUAL(CALL(unknown, @"PING"), @"PONG");
    EQUAL(CALL(unknown, @"AUTH", @"default", password), @"OK");
}

- (void)wrongPassword {
    Connection *unknown = [[[Connection alloc] initWithPort:port password:@""] autorelease];
    ERROR(CALL(unknown, @"AUTH", @"no such password"), @"WRONGPASS invalid username-password pair");
    ERROR(CALL(unknown, @"PING"), @"NOAUTH");
}

- (void)selectDatabase {
    CALL(db, @"SET", @"where", @"zero");
    EQUAL(CALL(db, @"SELECT", @"3"), @"OK");
    NIL(CALL(db, @"GET", @"where"));
    CALL(db, @"SET", @"where", @"three");
    INTEGER(CALL(db, @"DBSIZE"), 1);
    ERROR(CALL(db, @"SELECT", @"1000"), @"ERR DB index is out of range");
    CALL(db, @"SELECT", @"0");
    EQUAL(CALL(db, @"GET", @"where"), @"zero");
}

- (void)strings {
    EQUAL(CALL(db, @"SET", @"s", @"value"), @"OK");
    EQUAL(CALL(db, @"GET", @"s"), @"value");
    NIL(CALL(db, @"SET", @"s", @"other", @"NX"));
    EQUAL(CALL(db, @"SET", @"s", @"other", @"GET"), @"value");
    INTEGER(CALL(db, @"APPEND", @"s", @"s"), 6);
    EQUAL(CALL(db, @"GETRANGE", @"s", @"1", @"3"), @"the");
    EQUAL(CALL(db, @"SET", @"s1", @"Gr\u00fc\u00dfe"), @"OK");
    EQUAL(CALL(db, @"GET", @"s1"), [@"Gr\u00fc\u00dfe" dataUsingEncoding:NSUTF8StringEncoding]);
    EQUAL(CALL(db, @"MSET", @"s1", @"one", @"s2", @"two"), @"OK");
    EQUAL(CALL(db, @"MGET", @"s1", @"nosuch", @"s2"), LIST(@"one", [NSNull null], @"two"));
    INTEGER(CALL(db, @"DEL", @"s", @"s1", @"s2", @"nosuch"), 3);
}

- (void)counters {
    INTEGER(CALL(db, @"INCR", @"n"), 1);
    INTEGER(CALL(db, @"INCRBY", @"n", [NSNumber numberWithLongLong:9223372036854775000LL]), 9223372036854775001LL);
    ERROR(CALL(db, @"INCRBY", @"n", @"1000"), @"ERR increment or decrement would overflow");
    INTEGER(CALL(db, @"DECRBY", @"n", @"9223372036854775000"), 1);
    EQUAL(CALL(db, @"INCRBYFLOAT", @"n", [NSNumber numberWithDouble:0.5]), @"1.5");
    ERROR(CALL(db, @"INCR", @"n"), @"ERR value is not an integer or out of range");
}

- (void)binary {
    NSMutableData *all = [NSMutableData dataWithLength:256];
    for (int i = 0; i < 256; i++)
        ((unsigned char *)[all mutableBytes])[i] = (unsigned char)i;
    EQUAL(CALL(db, @"SET", all, all), @"OK");
    EQUAL(CALL(db, @"GET", all), all);
    EQUAL([CALL(db, @"KEYS", [NSData dataWithBytes:"\0\1*" length:3]) objectAtIndex:0], all);
    EQUAL(CALL(db, @"SET", @"", [NSData data]), @"OK");
    EQUAL(CALL(db, @"GET", @""), [NSData data]);
    INTEGER(CALL(db, @"DEL", @""), 1);
    NSMutableData *big = [NSMutableData data];
    for (int i = 0; i < 4096; i++)
        [big appendData:all];
    EQUAL(CALL(db, @"SET", @"big", big), @"OK");
    EQUAL(CALL(db, @"GET", @"big"), big);
    NSString *longest = [@"" stringByPaddingToLength:65536 withString:@"k" startingAtIndex:0];
    CALL(db, @"SET", longest, @"long key");
    EQUAL(CALL(db, @"GET", longest), @"long key");
}

- (void)hashes {
    INTEGER(CALL(db, @"HSET", @"h", @"a", @"1", @"b", @"2", @"c", @"3"), 3);
    EQUAL(CALL(db, @"HGET", @"h", @"b"), @"2");
    NIL(CALL(db, @"HGET", @"h", @"nosuch"));
    EQUAL(CALL(db, @"HGETALL", @"h"), WORDS(@"a 1 b 2 c 3"));
    EQUAL(CALL(db, @"HMGET", @"h", @"c", @"nosuch"), LIST(@"3", [NSNull null]));
    INTEGER(CALL(db, @"HINCRBY", @"h", @"a", @"41"), 42);
    INTEGER(CALL(db, @"HDEL", @"h", @"b", @"c", @"nosuch"), 2);
    INTEGER(CALL(db, @"HLEN", @"h"), 1);
}

- (void)lists {
    INTEGER(CALL(db, @"RPUSH", @"l", @"a", @"b", @"c"), 3);
    INTEGER(CALL(db, @"LPUSH", @"l", @"z"), 4);
    EQUAL(CALL(db, @"LRANGE", @"l", @"0", @"-1"), WORDS(@"z a b c"));
    EQUAL(CALL(db, @"LPOP", @"l"), @"z");
    EQUAL(CALL(db, @"RPOP", @"l", @"2"), WORDS(@"c b"));
    EQUAL(CALL(db, @"LINDEX", @"l", @"0"), @"a");
    EQUAL(CALL(db, @"LMOVE", @"l", @"l2", @"LEFT", @"RIGHT"), @"a");
    INTEGER(CALL(db, @"EXISTS", @"l"), 0);
}

- (void)sets {
    INTEGER(CALL(db, @"SADD", @"s1", @"a", @"b", @"c", @"a"), 3);
    INTEGER(CALL(db, @"SADD", @"s2", @"b", @"c", @"d"), 3);
    INTEGER(CALL(db, @"SISMEMBER", @"s1", @"a"), 1);
    NSSet *both = [NSSet setWithArray:readable(CALL(db, @"SINTER", @"s1", @"s2"))];
    EXPECT([both isEqual:[NSSet setWithArray:WORDS(@"b c")]]);
    INTEGER(CALL(db, @"SUNIONSTORE", @"s3", @"s1", @"s2"), 4);
    EQUAL(CALL(db, @"SDIFF", @"s1", @"s2"), LIST(@"a"));
    INTEGER(CALL(db, @"SREM", @"s1", @"a", @"nosuch"), 1);
    INTEGER(CALL(db, @"SCARD", @"s1"), 2);
}

- (void)sortedSets {
    INTEGER(CALL(db, @"ZADD", @"z", @"1", @"a", @"2.5", @"b", @"-inf", @"c"), 3);
    EQUAL(CALL(db, @"ZRANGE", @"z", @"0", @"-1", @"WITHSCORES"), WORDS(@"c -inf a 1 b 2.5"));
    EQUAL(CALL(db, @"ZSCORE", @"z", @"b"), @"2.5");
    EQUAL(CALL(db, @"ZINCRBY", @"z", @"2", @"a"), @"3");
    INTEGER(CALL(db, @"ZRANK", @"z", @"a"), 2);
    EQUAL(CALL(db, @"ZRANGEBYSCORE", @"z", @"(2.5", @"+inf"), LIST(@"a"));
    EQUAL(CALL(db, @"ZPOPMIN", @"z"), WORDS(@"c -inf"));
    INTEGER(CALL(db, @"ZCARD", @"z"), 2);
}

- (void)expiry {
    EQUAL(CALL(db, @"SET", @"e", @"v", @"EX", @"100"), @"OK");
    int ttl = [CALL(db, @"TTL", @"e") intValue];
    EXPECT(ttl >= 99 && ttl <= 100);
    INTEGER(CALL(db, @"PERSIST", @"e"), 1);
    INTEGER(CALL(db, @"TTL", @"e"), -1);
    INTEGER(CALL(db, @"PEXPIRE", @"e", @"30"), 1);
    NSDate *deadline = [NSDate dateWithTimeIntervalSinceNow:5];
    while ([CALL(db, @"EXISTS", @"e") intValue] && [deadline timeIntervalSinceNow] > 0)
        [NSThread sleepForTimeInterval:0.005];
    NIL(CALL(db, @"GET", @"e"));
    INTEGER(CALL(db, @"TTL", @"e"), -2);
}

- (void)pipeline {
    long long sum = 0;
    for (int i = 0; i < 10000; i++) {
        NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
        [db append:LIST(@"INCRBY", @"pipelined", [NSNumber numberWithInt:i % 7])];
        [pool release];
    }
    for (int i = 0; i < 10000; i++) {
        sum += i % 7;
        EXPECT([[db read] longLongValue] == sum);
    }
    EQUAL(CALL(db, @"GET", @"pipelined"), ([NSString stringWithFormat:@"%lld", sum]));
}

- (void)transaction {
    EQUAL(CALL(db, @"MULTI"), @"OK");
    EQUAL(CALL(db, @"SET", @"t", @"1"), @"QUEUED");
    EQUAL(CALL(db, @"INCR", @"t"), @"QUEUED");
    EQUAL(CALL(db, @"LPOP", @"t"), @"QUEUED");
    EQUAL(CALL(db, @"INCR", @"t"), @"QUEUED");
    NSArray *results = CALL(db, @"EXEC");
    EQUAL([results objectAtIndex:0], @"OK");
    INTEGER([results objectAtIndex:1], 2);
    ERROR([[results objectAtIndex:2] raise], @"WRONGTYPE");
    INTEGER([results objectAtIndex:3], 3);
    CALL(db, @"MULTI");
    ERROR(CALL(db, @"GET"), @"ERR wrong number of arguments for 'get' command");
    ERROR(CALL(db, @"EXEC"), @"EXECABORT");
    CALL(db, @"MULTI");
    CALL(db, @"INCR", @"t");
    EQUAL(CALL(db, @"DISCARD"), @"OK");
    EQUAL(CALL(db, @"GET", @"t"), @"3");
}

- (void)watchConflict {
    Connection *other = [Connection open];
    CALL(db, @"SET", @"w", @"1");
    EQUAL(CALL(db, @"WATCH", @"w"), @"OK");
    CALL(other, @"INCR", @"w");
    CALL(db, @"MULTI");
    CALL(db, @"SET", @"w", @"100");
    NIL(CALL(db, @"EXEC"));
    EQUAL(CALL(db, @"GET", @"w"), @"2");
    CALL(db, @"WATCH", @"w");
    CALL(db, @"MULTI");
    CALL(db, @"SET", @"w", @"100");
    EQUAL(CALL(db, @"EXEC"), LIST(@"OK"));
}

- (void)message {
    Connection *subscriber = [Connection open];
    EQUAL(CALL(subscriber, @"SUBSCRIBE", @"news"), LIST(@"subscribe", @"news", [NSNumber numberWithInt:1]));
    INTEGER(CALL(db, @"PUBLISH", @"news", [NSData dataWithBytes:"a\0b" length:3]), 1);
    NSArray *heard = [subscriber read];
    EQUAL([heard objectAtIndex:0], @"message");
    EQUAL([heard objectAtIndex:1], @"news");
    EQUAL([heard objectAtIndex:2], [NSData dataWithBytes:"a\0b" length:3]);
    EQUAL(CALL(subscriber, @"UNSUBSCRIBE", @"news"), LIST(@"unsubscribe", @"news", [NSNumber numberWithInt:0]));
    EQUAL(CALL(subscriber, @"PING"), @"PONG");
}

- (void)pattern {
    Connection *subscriber = [Connection open];
    CALL(subscriber, @"PSUBSCRIBE", @"n?ws.*");
    INTEGER(CALL(db, @"PUBLISH", @"nws.art", @"hello"), 0);
    INTEGER(CALL(db, @"PUBLISH", @"news.art", @"hello"), 1);
    EQUAL([subscriber read], WORDS(@"pmessage n?ws.* news.art hello"));
}

/* The other process: takes three jobs from the queue, and answers each. */
- (void)work {
    int status = 1;
    @try {
        Connection *own = [Connection open];
        for (int i = 0; i < 3; i++) {
            NSString *job = readable([CALL(own, @"BLPOP", @"jobs", @"10") objectAtIndex:1]);
            CALL(own, @"RPUSH", @"done", [@"did-" stringByAppendingString:job]);
        }
        status = 0;
    } @finally {
        _exit(status);
    }
}

- (void)queue {
    pid_t worker = fork();
    if (worker == 0)
        [self work];
    NSDate *deadline = [NSDate dateWithTimeIntervalSinceNow:10];
    while ([readable(CALL(db, @"INFO", @"clients")) rangeOfString:@"blocked_clients:1"].location == NSNotFound &&
           [deadline timeIntervalSinceNow] > 0)
        [NSThread sleepForTimeInterval:0.005];
    INTEGER(CALL(db, @"RPUSH", @"jobs", @"one"), 1);
    EQUAL(CALL(db, @"BLPOP", @"done", @"10"), WORDS(@"done did-one"));
    CALL(db, @"RPUSH", @"jobs", @"two", @"three");
    EQUAL(CALL(db, @"BLPOP", @"done", @"10"), WORDS(@"done did-two"));
    EQUAL(CALL(db, @"BLPOP", @"done", @"10"), WORDS(@"done did-three"));
    int status = -1;
    EXPECT(waitpid(worker, &status, 0) == worker && status == 0);
}

- (void)blockingTimeout {
    NSDate *begin = [NSDate date];
    NIL(CALL(db, @"BLPOP", @"nosuch", @"0.2"));
    EXPECT([begin timeIntervalSinceNow] < -0.19 && [begin timeIntervalSinceNow] > -5);
    NIL(CALL(db, @"BRPOPLPUSH", @"nosuch", @"other", @"0.05"));
}

- (void)eval {
    NSString *script = @"redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}";
    EQUAL(CALL(db, @"EVAL", script, @"1", @"k", @"v"),
          LIST(@"v", [NSNumber numberWithInt:42], LIST([NSNull null])));
    ERROR(CALL(db, @"EVAL", @"return redis.error_reply('MINE it went wrong')", @"0"), @"MINE it went wrong");
    ERROR(CALL(db, @"EVAL", @"return +", @"0"), @"ERR Error compiling script");
}

- (void)evalsha {
    NSString *sha = readable(CALL(db, @"SCRIPT", @"LOAD", @"return ARGV[1] * 2"));
    EXPECT([sha length] == 40);
    INTEGER(CALL(db, @"EVALSHA", sha, @"0", @"21"), 42);
    EQUAL(CALL(db, @"SCRIPT", @"EXISTS", sha), LIST([NSNumber numberWithInt:1]));
    EQUAL(CALL(db, @"SCRIPT", @"FLUSH"), @"OK");
    ERROR(CALL(db, @"EVALSHA", sha, @"0", @"21"), @"NOSCRIPT No matching script");
}

- (void)scan {
    for (int i = 0; i < 1000; i++)
        [db append:LIST(@"SET", ([NSString stringWithFormat:@"scanned:%d", i]), [NSNumber numberWithInt:i])];
    for (int i = 0; i < 1000; i++)
        EQUAL([db read], @"OK");
    NSMutableSet *found = [NSMutableSet set];
    NSString *cursor = @"0";
    int calls = 0;
    do {
        NSArray *reply = readable(CALL(db, @"SCAN", cursor, @"MATCH", @"scanned:*", @"COUNT", @"100"));
        cursor = [reply objectAtIndex:0];
        [found addObjectsFromArray:[reply objectAtIndex:1]];
        EXPECT(++calls < 1000);
    } while (![cursor isEqual:@"0"]);
    EXPECT([found count] == 1000 && [found containsObject:@"scanned:999"]);
    EXPECT(calls > 1);
}

- (void)streams {
    EQUAL(CALL(db, @"XADD", @"x", @"1-1", @"f", @"a"), @"1-1");
    CALL(db, @"XADD", @"x", @"1-2", @"f", @"b");
    CALL(db, @"XADD", @"x", @"*", @"f", @"c");
    EQUAL(CALL(db, @"XGROUP", @"CREATE", @"x", @"g", @"0"), @"OK");
    ERROR(CALL(db, @"XGROUP", @"CREATE", @"x", @"g", @"0"), @"BUSYGROUP");
    NSArray *first = LIST(@"1-1", WORDS(@"f a")), *second = LIST(@"1-2", WORDS(@"f b"));
    EQUAL(CALL(db, @"XREADGROUP", @"GROUP", @"g", @"alice", @"COUNT", @"2", @"STREAMS", @"x", @">"),
          LIST(LIST(@"x", LIST(first, second))));
    EQUAL(CALL(db, @"XPENDING", @"x", @"g"),
          LIST([NSNumber numberWithInt:2], @"1-1", @"1-2", LIST(WORDS(@"alice 2"))));
    INTEGER(CALL(db, @"XACK", @"x", @"g", @"1-1"), 1);
    EQUAL(CALL(db, @"XCLAIM", @"x", @"g", @"bob", @"0", @"1-2"), LIST(second));
    EQUAL(CALL(db, @"XREADGROUP", @"GROUP", @"g", @"bob", @"STREAMS", @"x", @"0"), LIST(LIST(@"x", LIST(second))));
    id third = CALL(db, @"XREADGROUP", @"GROUP", @"g", @"bob", @"BLOCK", @"1000", @"STREAMS", @"x", @">");
    EQUAL([[[[third objectAtIndex:0] objectAtIndex:1] objectAtIndex:0] objectAtIndex:1], WORDS(@"f c"));
    NIL(CALL(db, @"XREADGROUP", @"GROUP", @"g", @"bob", @"BLOCK", @"30", @"STREAMS", @"x", @">"));
    INTEGER(CALL(db, @"XLEN", @"x"), 3);
}

- (void)resp3 {
    Connection *third = [Connection open];
    CALL(third, @"HELLO", @"3");
    EXPECT([third lastType] == REDIS_REPLY_MAP);
    CALL(third, @"HSET", @"r", @"f", @"v");
    EQUAL(CALL(third, @"HGETALL", @"r"), WORDS(@"f v"));
    EXPECT([third lastType] == REDIS_REPLY_MAP);
    CALL(third, @"SADD", @"rs", @"m");
    EQUAL(CALL(third, @"SMEMBERS", @"rs"), LIST(@"m"));
    EXPECT([third lastType] == REDIS_REPLY_SET);
    CALL(third, @"ZADD", @"rz", @"1.5", @"m");
    EQUAL(CALL(third, @"ZSCORE", @"rz", @"m"), [NSNumber numberWithDouble:1.5]);
    EXPECT([third lastType] == REDIS_REPLY_DOUBLE);
    EXPECT([CALL(third, @"EVAL", @"redis.setresp(3); return true", @"0") boolValue]);
    EXPECT([third lastType] == REDIS_REPLY_BOOL);
    NIL(CALL(third, @"GET", @"nosuch"));
}

- (void)errors {
    CALL(db, @"SET", @"text", @"v");
    ERROR(CALL(db, @"LPUSH", @"text", @"x"), @"WRONGTYPE Operation against a key holding the wrong kind of value");
    ERROR(CALL(db, @"NOSUCH", @"a", @"b"), @"ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b'");
    ERROR(CALL(db, @"SET", @"text", @"v", @"EX", @"nan"), @"ERR value is not an integer or out of range");
    EQUAL(CALL(db, @"GET", @"text"), @"v");
}

- (void)reconnectAfterRestart {
    CALL(db, @"SET", @"kept", @"over the restart");
    CALL(db, @"RPUSH", @"kept-list", @"a", @"b");
    printf("# RESTART\n");
    fflush(stdout);
    char line[64];
    EXPECT(fgets(line, sizeof line, stdin));
    NSString *name = nil;
    @try {
        CALL(db, @"PING");
    } @catch (NSException *raised) {
        name = [raised name];
    }
    EQUAL(name, ConnectionError);
    [db reconnect];
    EQUAL(CALL(db, @"GET", @"kept"), @"over the restart");
    EQUAL(CALL(db, @"LRANGE", @"kept-list", @"0", @"-1"), WORDS(@"a b"));
}

- (int)runAll {
    db = [[Connection open] retain];
    CALL(db, @"FLUSHALL");
    [self run:"connect" with:@selector(connectWithoutPassword)];
    [self run:"auth" with:@selector(auth)];
    [self run:"wrong password error" with:@selector(wrongPassword)];
    [self run:"select database isolation" with:@selector(selectDatabase)];
    [self run:"strings" with:@selector(strings)];
    [self run:"counters" with:@selector(counters)];
    [self run:"binary-safe keys and values" with:@selector(binary)];
    [self run:"hashes" with:@selector(hashes)];
    [self run:"lists" with:@selector(lists)];
    [self run:"sets" with:@selector(sets)];
    [self run:"sorted sets" with:@selector(sortedSets)];
    [self run:"expiry" with:@selector(expiry)];
    [self run:"pipeline of 10,000 commands" with:@selector(pipeline)];
    [self run:"MULTI/EXEC" with:@selector(transaction)];
    [self run:"WATCH conflict" with:@selector(watchConflict)];
    [self run:"publish/subscribe message" with:@selector(message)];
    [self run:"publish/subscribe pattern" with:@selector(pattern)];
    [self run:"blocking pop queue between two processes" with:@selector(queue)];
    [self run:"blocking pop timeout" with:@selector(blockingTimeout)];
    [self run:"EVAL" with:@selector(eval)];
    [self run:"EVALSHA/NOSCRIPT" with:@selector(evalsha)];
    [self run:"SCAN loop" with:@selector(scan)];
    [self run:"streams with consumer group" with:@selector(streams)];
    [self run:"RESP3" with:@selector(resp3)];
    [self run:"errors" with:@selector(errors)];
    [self run:"reconnect after restart" with:@selector(reconnectAfterRestart)];
    printf("1..%d\n", reported);
    [db release];
    return failed ? 1 : 0;
}
@end

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    signal(SIGPIPE, SIG_IGN); /* a lost connection is an error of hiredis, not the end of the process */
    host = argv[1];
    port = atoi(argv[2]);
    password = [[NSString alloc] initWithUTF8String:argv[3]];
    printf("# library hiredis %d.%d.%d\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    fflush(stdout);
    Checks *checks = [[[Checks alloc] init] autorelease];
    int status = [checks runAll];
    [pool release];
    return status;
}
