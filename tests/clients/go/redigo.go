// Drives a server through redigo and reports every check as TAP; started as: client HOST PORT PASSWORD DIRECTORY
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

var pool = &redis.Pool{
	MaxIdle: 2,
	Dial:    func() (redis.Conn, error) { return dial(port, redis.DialPassword(password)) },
	TestOnBorrow: func(c redis.Conn, _ time.Time) error {
		_, err := c.Do("PING")
		return err
	},
}

var db redis.Conn

func dial(toPort string, options ...redis.DialOption) (redis.Conn, error) {
	options = append(options, redis.DialReadTimeout(15*time.Second), redis.DialWriteTimeout(15*time.Second))
	return redis.Dial("tcp", host+":"+toPort, options...)
}

func connected(toPort string, options ...redis.DialOption) redis.Conn {
	c, err := dial(toPort, options...)
	must(err)
	return c
}

// run gives the reply as Go values, with strings for bulk strings.
func run(c redis.Conn, name string, arguments ...interface{}) interface{} {
	reply, err := c.Do(name, arguments...)
	must(err)
	return plain(reply)
}

func plain(reply interface{}) interface{} {
	switch value := reply.(type) {
	case []byte:
		return string(value)
	case []interface{}:
		values := make([]interface{}, len(value))
		for i := range value {
			values[i] = plain(value[i])
		}
		return values
	}
	return reply
}

func fails(c redis.Conn, prefix, name string, arguments ...interface{}) {
	_, err := c.Do(name, arguments...)
	if _, isReply := err.(redis.Error); !isReply {
		panic(failure(fmt.Sprintf("%v is no redis.Error", err)))
	}
	refused(err, prefix)
}

func list(values ...interface{}) []interface{} { return values }

func connect() {
	c := connected(openPort)
	defer c.Close()
	equal(run(c, "PING"), "PONG")
	equal(run(c, "ECHO", "hello"), "hello")
	other, err := redis.DialURL("redis://" + host + ":" + openPort + "/2")
	must(err)
	defer other.Close()
	equal(strings.Contains(run(other, "CLIENT", "INFO").(string), " db=2 "), true)
}

func auth() {
	c := connected(port)
	defer c.Close()
	fails(c, "NOAUTH Authentication required.", "GET", "k")
	equal(run(c, "AUTH", password), "OK")
	named := connected(port, redis.DialUsername("default"), redis.DialPassword(password))
	defer named.Close()
	equal(run(named, "ACL", "WHOAMI"), "default")
}

func wrongPassword() {
	_, err := dial(port, redis.DialPassword("no such password"))
	refused(err, "WRONGPASS invalid username-password pair or user is disabled.")
}

func selectDatabase() {
	run(db, "SET", "where", "zero")
	other := connected(port, redis.DialPassword(password), redis.DialDatabase(3))
	defer other.Close()
	equal(run(other, "GET", "where"), nil)
	run(other, "SET", "where", "three")
	equal(run(other, "DBSIZE"), int64(1))
	fails(other, "ERR DB index is out of range", "SELECT", 1000)
	equal(run(db, "GET", "where"), "zero")
}

func strings_() {
	equal(run(db, "SET", "s", "value"), "OK")
	equal(run(db, "GET", "s"), "value")
	equal(run(db, "SET", "s", "other", "NX"), nil)
	equal(run(db, "SET", "s", "other", "GET"), "value")
	equal(run(db, "APPEND", "s", "s"), int64(6))
	equal(run(db, "GETRANGE", "s", 1, 3), "the")
	equal(run(db, "MSET", redis.Args{}.AddFlat(map[string]string{"s1": "one", "s2": "two"})...), "OK")
	equal(run(db, "MGET", "s1", "nosuch", "s2"), list("one", nil, "two"))
	equal(run(db, "DEL", "s", "s1", "s2", "nosuch"), int64(3))
}

func counters() {
	equal(run(db, "INCR", "n"), int64(1))
	equal(run(db, "INCRBY", "n", int64(9223372036854775000)), int64(9223372036854775001))
	fails(db, "ERR increment or decrement would overflow", "INCRBY", "n", 1000)
	equal(run(db, "DECRBY", "n", int64(9223372036854775000)), int64(1))
	half, err := redis.Float64(db.Do("INCRBYFLOAT", "n", 0.5))
	must(err)
	equal(half, 1.5)
	fails(db, "ERR value is not an integer or out of range", "INCR", "n")
}

func binary() {
	equal(run(db, "SET", allBytes, allBytes), "OK")
	equal(run(db, "GET", allBytes), string(allBytes))
	equal(run(db, "KEYS", "\x00\x01*"), list(string(allBytes)))
	equal(run(db, "SET", "", ""), "OK")
	equal(run(db, "GET", ""), "")
	equal(run(db, "DEL", ""), int64(1))
	run(db, "SET", "big", megabyte)
	equal(run(db, "GET", "big") == string(megabyte), true)
	run(db, "SET", megabyte[:65536], "long-key")
	equal(run(db, "GET", megabyte[:65536]), "long-key")
}

func hashes() {
	equal(run(db, "HSET", "h", "a", 1, "b", 2, "c", 3), int64(3))
	equal(run(db, "HGET", "h", "b"), "2")
	equal(run(db, "HGET", "h", "nosuch"), nil)
	all, err := redis.StringMap(db.Do("HGETALL", "h"))
	must(err)
	equal(all, map[string]string{"a": "1", "b": "2", "c": "3"})
	equal(run(db, "HINCRBY", "h", "a", 41), int64(42))
	equal(run(db, "HDEL", "h", "b", "c", "nosuch"), int64(2))
	equal(run(db, "HLEN", "h"), int64(1))
}

func lists() {
	equal(run(db, "RPUSH", "l", "a", "b", "c"), int64(3))
	equal(run(db, "LPUSH", "l", "z"), int64(4))
	equal(run(db, "LRANGE", "l", 0, -1), list("z", "a", "b", "c"))
	equal(run(db, "LPOP", "l"), "z")
	equal(run(db, "RPOP", "l", 2), list("c", "b"))
	equal(run(db, "LINDEX", "l", 0), "a")
	equal(run(db, "LMOVE", "l", "l2", "LEFT", "RIGHT"), "a")
	equal(run(db, "EXISTS", "l"), int64(0))
}

func sets() {
	equal(run(db, "SADD", "s1", "a", "b", "c", "a"), int64(3))
	equal(run(db, "SADD", "s2", "b", "c", "d"), int64(3))
	equal(run(db, "SISMEMBER", "s1", "a"), int64(1))
	both, err := redis.Strings(db.Do("SINTER", "s1", "s2"))
	must(err)
	equal(sorted(both), []string{"b", "c"})
	equal(run(db, "SUNIONSTORE", "s3", "s1", "s2"), int64(4))
	equal(run(db, "SDIFF", "s1", "s2"), list("a"))
	equal(run(db, "SREM", "s1", "a", "nosuch"), int64(1))
	equal(run(db, "SCARD", "s1"), int64(2))
}

func sortedSets() {
	equal(run(db, "ZADD", "z", 1, "a", 2.5, "b", "-inf", "c"), int64(3))
	equal(run(db, "ZRANGE", "z", 0, -1, "WITHSCORES"), list("c", "-inf", "a", "1", "b", "2.5"))
	equal(run(db, "ZSCORE", "z", "b"), "2.5")
	equal(run(db, "ZINCRBY", "z", 2, "a"), "3")
	equal(run(db, "ZRANK", "z", "a"), int64(2))
	equal(run(db, "ZRANGEBYSCORE", "z", "(2.5", "+inf"), list("a"))
	equal(run(db, "ZPOPMIN", "z"), list("c", "-inf"))
	equal(run(db, "ZCARD", "z"), int64(2))
}

func expiry() {
	run(db, "SET", "e", "v", "EX", 100)
	left := run(db, "TTL", "e").(int64)
	equal(left == 99 || left == 100, true)
	equal(run(db, "PERSIST", "e"), int64(1))
	equal(run(db, "TTL", "e"), int64(-1))
	equal(run(db, "PEXPIRE", "e", 30), int64(1))
	until(func() bool { return run(db, "EXISTS", "e") == int64(0) })
	equal(run(db, "GET", "e"), nil)
	equal(run(db, "TTL", "e"), int64(-2))
}

func pipeline() {
	for i := 0; i < pipelined; i++ {
		must(db.Send("INCRBY", "pipelined", i%7))
	}
	must(db.Flush())
	sum := int64(0)
	for i := 0; i < pipelined; i++ {
		sum += int64(i % 7)
		reply, err := db.Receive()
		must(err)
		equal(reply, sum)
	}
}

func transaction() {
	must(db.Send("MULTI"))
	must(db.Send("SET", "t", 1))
	must(db.Send("INCR", "t"))
	must(db.Send("LPOP", "t"))
	replies, err := redis.Values(db.Do("EXEC"))
	must(err)
	equal(replies[:2], list("OK", int64(2)))
	refused(replies[2].(redis.Error), "WRONGTYPE")
	run(db, "MULTI")
	fails(db, "ERR unknown command", "NOSUCH")
	fails(db, "EXECABORT Transaction discarded because of previous errors.", "EXEC")
}

func watchConflict() {
	other := connected(port, redis.DialPassword(password))
	defer other.Close()
	run(db, "SET", "w", 1)
	run(db, "WATCH", "w")
	run(other, "INCR", "w")
	run(db, "MULTI")
	equal(run(db, "SET", "w", 100), "QUEUED")
	equal(run(db, "EXEC"), nil)
	equal(run(db, "GET", "w"), "2")
	run(db, "WATCH", "w")
	run(db, "MULTI")
	run(db, "SET", "w", 100)
	equal(run(db, "EXEC"), list("OK"))
}

func message() {
	subscriber := redis.PubSubConn{Conn: connected(port, redis.DialPassword(password))}
	defer subscriber.Close()
	must(subscriber.Subscribe("news"))
	equal(subscriber.Receive(), redis.Subscription{Kind: "subscribe", Channel: "news", Count: 1})
	equal(run(db, "PUBLISH", "news", "a\x00b"), int64(1))
	equal(subscriber.Receive(), redis.Message{Channel: "news", Data: []byte("a\x00b")})
	must(subscriber.Ping("still there"))
	equal(subscriber.Receive(), redis.Pong{Data: "still there"})
	must(subscriber.Unsubscribe("news"))
	equal(subscriber.Receive(), redis.Subscription{Kind: "unsubscribe", Channel: "news", Count: 0})
}

func pattern() {
	subscriber := redis.PubSubConn{Conn: connected(port, redis.DialPassword(password))}
	defer subscriber.Close()
	must(subscriber.PSubscribe("n?ws.*"))
	equal(subscriber.Receive(), redis.Subscription{Kind: "psubscribe", Channel: "n?ws.*", Count: 1})
	equal(run(db, "PUBLISH", "news.art", "hello"), int64(1))
	equal(run(db, "PUBLISH", "nws.art", "hello"), int64(0))
	equal(subscriber.Receive(), redis.Message{Pattern: "n?ws.*", Channel: "news.art", Data: []byte("hello")})
}

func work() {
	for range jobs {
		popped := run(db, "BLPOP", "jobs", 10).([]interface{})
		run(db, "RPUSH", "done", "did-"+popped[1].(string))
	}
}

func queue() {
	withWorker(func() {
		until(func() bool { return strings.Contains(run(db, "INFO", "clients").(string), "blocked_clients:1\r\n") })
		equal(run(db, "RPUSH", "jobs", "one"), int64(1))
		equal(run(db, "BLPOP", "done", 10), list("done", "did-one"))
		run(db, "RPUSH", "jobs", "two", "three")
		equal(run(db, "BLPOP", "done", 10), list("done", "did-two"))
		equal(run(db, "BLPOP", "done", 10), list("done", "did-three"))
	})
}

func blockingTimeout() {
	begin := time.Now()
	equal(run(db, "BLPOP", "nosuch", 0.2), nil)
	took := time.Since(begin)
	equal(took > 190*time.Millisecond && took < 5*time.Second, true)
	equal(run(db, "BRPOPLPUSH", "nosuch", "other", 0.05), nil)
}

func eval() {
	equal(run(db, "EVAL", script, 1, "k", "v"), list("v", int64(42), list(nil)))
	fails(db, "MINE it went wrong", "EVAL", "return redis.error_reply('MINE it went wrong')", 0)
	fails(db, "ERR Error compiling script", "EVAL", "return +", 0)
}

func evalsha() {
	sha := run(db, "SCRIPT", "LOAD", "return ARGV[1] * 2")
	equal(run(db, "EVALSHA", sha, 0, 21), int64(42))
	equal(run(db, "SCRIPT", "FLUSH"), "OK")
	fails(db, "NOSCRIPT No matching script", "EVALSHA", sha, 0, 21)
	// Script tries EVALSHA first, and EVAL when the server does not know the script.
	double := redis.NewScript(0, "return ARGV[1] * 2")
	reply, err := redis.Int(double.Do(db, 4))
	must(err)
	equal(reply, 8)
	equal(run(db, "EVALSHA", double.Hash(), 0, 21), int64(42))
}

func scan() {
	arguments := redis.Args{}
	for _, name := range scannedNames() {
		arguments = arguments.Add(name, 1)
	}
	run(db, "MSET", arguments...)
	var found []string
	cursor, calls := "0", 0
	for calls == 0 || cursor != "0" {
		reply, err := redis.Values(db.Do("SCAN", cursor, "MATCH", "scanned:*", "COUNT", 100))
		must(err)
		var keys []string
		_, err = redis.Scan(reply, &cursor, &keys)
		must(err)
		found = append(found, keys...)
		calls++
	}
	equal(distinct(found), sorted(scannedNames()))
	equal(calls > 1, true)
}

func streams() {
	equal(run(db, "XADD", "x", "1-1", "f", "a"), "1-1")
	run(db, "XADD", "x", "1-2", "f", "b")
	newest := run(db, "XADD", "x", "*", "f", "c")
	equal(run(db, "XGROUP", "CREATE", "x", "g", 0), "OK")
	fails(db, "BUSYGROUP", "XGROUP", "CREATE", "x", "g", 0)
	first, second := list("1-1", list("f", "a")), list("1-2", list("f", "b"))
	read := run(db, "XREADGROUP", "GROUP", "g", "alice", "COUNT", 2, "STREAMS", "x", ">")
	equal(read, list(list("x", list(first, second))))
	equal(run(db, "XPENDING", "x", "g"), list(int64(2), "1-1", "1-2", list(list("alice", "2"))))
	equal(run(db, "XACK", "x", "g", "1-1"), int64(1))
	equal(run(db, "XCLAIM", "x", "g", "bob", 0, "1-2"), list(second))
	read = run(db, "XREADGROUP", "GROUP", "g", "bob", "BLOCK", 1000, "STREAMS", "x", ">")
	equal(read, list(list("x", list(list(newest, list("f", "c"))))))
	equal(run(db, "XREADGROUP", "GROUP", "g", "bob", "BLOCK", 30, "STREAMS", "x", ">"), nil)
	equal(run(db, "XLEN", "x"), int64(3))
}

func errors() {
	run(db, "SET", "text", "v")
	fails(db, "WRONGTYPE Operation against a key holding the wrong kind of value", "LPUSH", "text", "x")
	fails(db, "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH", "a", "b")
	fails(db, "ERR wrong number of arguments for 'get' command", "GET")
	fails(db, "ERR value is not an integer or out of range", "SET", "text", "v", "EX", "nan")
}

func reconnect() {
	first := pool.Get()
	run(first, "SET", "kept", "over the restart")
	run(first, "RPUSH", "kept-list", "a", "b")
	first.Close()
	restart()
	// The pool tests the connection that it kept, and replaces it.
	second := pool.Get()
	defer second.Close()
	equal(run(second, "GET", "kept"), "over the restart")
	equal(run(second, "LRANGE", "kept-list", 0, -1), list("a", "b"))
}

func main() {
	db = connected(port, redis.DialPassword(password))
	if isWorker() {
		work()
		os.Exit(0)
	}
	fmt.Printf("# library redigo %s\n", libraryVersion)
	run(db, "FLUSHALL")
	check("connect", connect)
	check("auth", auth)
	check("wrong password error", wrongPassword)
	check("select database isolation", selectDatabase)
	check("strings", strings_)
	check("counters", counters)
	check("binary-safe keys and values", binary)
	check("hashes", hashes)
	check("lists", lists)
	check("sets", sets)
	check("sorted sets", sortedSets)
	check("expiry", expiry)
	check("pipeline of 10,000 commands", pipeline)
	check("MULTI/EXEC", transaction)
	check("WATCH conflict", watchConflict)
	check("publish/subscribe message", message)
	check("publish/subscribe pattern", pattern)
	check("blocking pop queue between two processes", queue)
	check("blocking pop timeout", blockingTimeout)
	check("EVAL", eval)
	check("EVALSHA/NOSCRIPT", evalsha)
	check("SCAN loop", scan)
	check("streams with consumer group", streams)
	skip("RESP3", "redigo speaks RESP2 only")
	check("errors", errors)
	check("reconnect after restart", reconnect)
	end()
}
