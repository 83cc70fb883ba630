// Drives a server through go-redis and reports every check as TAP; started as: client HOST PORT PASSWORD DIRECTORY
package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"gopkg.in/redis.v5"
)

var db *redis.Client

func connected(options redis.Options) *redis.Client {
	if options.Addr == "" {
		options.Addr = host + ":" + port
	}
	options.ReadTimeout = 15 * time.Second
	return redis.NewClient(&options)
}

// run sends any command, for those that go-redis 5 has no method for.
func run(c *redis.Client, arguments ...interface{}) (interface{}, error) {
	command := redis.NewCmd(arguments...)
	c.Process(command)
	return command.Result()
}

func words(line string) []interface{} {
	var arguments []interface{}
	for _, word := range strings.Fields(line) {
		arguments = append(arguments, word)
	}
	return arguments
}

func gives(expected interface{}, line string) {
	reply, err := run(db, words(line)...)
	if err == redis.Nil {
		reply, err = nil, nil
	}
	must(err)
	equal(reply, expected)
}

func fails(prefix, line string) {
	_, err := run(db, words(line)...)
	refused(err, prefix)
}

func list(values ...interface{}) []interface{} { return values }

// status, integer ... check a reply and its error in one go.
func status(command *redis.StatusCmd, expected string) {
	must(command.Err())
	equal(command.Val(), expected)
}

func integer(command *redis.IntCmd, expected int64) {
	must(command.Err())
	equal(command.Val(), expected)
}

func text(command *redis.StringCmd, expected string) {
	must(command.Err())
	equal(command.Val(), expected)
}

func texts(command *redis.StringSliceCmd, expected ...string) {
	must(command.Err())
	equal(command.Val(), expected)
}

func yes(command *redis.BoolCmd, expected bool) {
	must(command.Err())
	equal(command.Val(), expected)
}

func float(command *redis.FloatCmd, expected float64) {
	must(command.Err())
	equal(command.Val(), expected)
}

func connect() {
	c := connected(redis.Options{Addr: host + ":" + openPort})
	defer c.Close()
	status(c.Ping(), "PONG")
	text(c.Echo("hello"), "hello")
	options, err := redis.ParseURL("redis://" + host + ":" + openPort + "/2")
	must(err)
	other := redis.NewClient(options)
	defer other.Close()
	info, err := run(other, "CLIENT", "INFO")
	must(err)
	equal(strings.Contains(info.(string), " db=2 "), true)
}

func auth() {
	c := connected(redis.Options{})
	defer c.Close()
	refused(c.Get("k").Err(), "NOAUTH Authentication required.")
	status(connected(redis.Options{Password: password}).Ping(), "PONG")
}

func wrongPassword() {
	c := connected(redis.Options{Password: "no such password"})
	defer c.Close()
	refused(c.Ping().Err(), "WRONGPASS invalid username-password pair or user is disabled.")
}

func selectDatabase() {
	must(db.Set("where", "zero", 0).Err())
	other := connected(redis.Options{Password: password, DB: 3})
	defer other.Close()
	equal(other.Get("where").Err(), redis.Nil)
	must(other.Set("where", "three", 0).Err())
	integer(other.DbSize(), 1)
	refused(connected(redis.Options{Password: password, DB: 1000}).Ping().Err(), "ERR DB index is out of range")
	text(db.Get("where"), "zero")
}

func strings_() {
	status(db.Set("s", "value", 0), "OK")
	text(db.Get("s"), "value")
	yes(db.SetNX("s", "other", 0), false)
	text(db.GetSet("s", "other"), "value")
	integer(db.Append("s", "s"), 6)
	text(db.GetRange("s", 1, 3), "the")
	status(db.MSet("s1", "one", "s2", "two"), "OK")
	values, err := db.MGet("s1", "nosuch", "s2").Result()
	must(err)
	equal(values, list("one", nil, "two"))
	integer(db.Del("s", "s1", "s2", "nosuch"), 3)
}

func counters() {
	integer(db.Incr("n"), 1)
	integer(db.IncrBy("n", 9223372036854775000), 9223372036854775001)
	refused(db.IncrBy("n", 1000).Err(), "ERR increment or decrement would overflow")
	integer(db.DecrBy("n", 9223372036854775000), 1)
	float(db.IncrByFloat("n", 0.5), 1.5)
	refused(db.Incr("n").Err(), "ERR value is not an integer or out of range")
}

func binary() {
	key := string(allBytes)
	status(db.Set(key, allBytes, 0), "OK")
	text(db.Get(key), key)
	texts(db.Keys("\x00\x01*"), key)
	status(db.Set("", "", 0), "OK")
	text(db.Get(""), "")
	integer(db.Del(""), 1)
	must(db.Set("big", megabyte, 0).Err())
	equal(db.Get("big").Val() == string(megabyte), true)
	must(db.Set(string(megabyte[:65536]), "long-key", 0).Err())
	text(db.Get(string(megabyte[:65536])), "long-key")
}

func hashes() {
	status(db.HMSet("h", map[string]string{"a": "1", "b": "2", "c": "3"}), "OK")
	text(db.HGet("h", "b"), "2")
	equal(db.HGet("h", "nosuch").Err(), redis.Nil)
	equal(db.HGetAll("h").Val(), map[string]string{"a": "1", "b": "2", "c": "3"})
	integer(db.HIncrBy("h", "a", 41), 42)
	integer(db.HDel("h", "b", "c", "nosuch"), 2)
	integer(db.HLen("h"), 1)
}

func lists() {
	integer(db.RPush("l", "a", "b", "c"), 3)
	integer(db.LPush("l", "z"), 4)
	texts(db.LRange("l", 0, -1), "z", "a", "b", "c")
	text(db.LPop("l"), "z")
	gives(list("c", "b"), "RPOP l 2")
	text(db.LIndex("l", 0), "a")
	gives("a", "LMOVE l l2 LEFT RIGHT")
	gives(int64(0), "EXISTS l")
}

func sets() {
	integer(db.SAdd("s1", "a", "b", "c", "a"), 3)
	integer(db.SAdd("s2", "b", "c", "d"), 3)
	yes(db.SIsMember("s1", "a"), true)
	equal(sorted(db.SInter("s1", "s2").Val()), []string{"b", "c"})
	integer(db.SUnionStore("s3", "s1", "s2"), 4)
	texts(db.SDiff("s1", "s2"), "a")
	integer(db.SRem("s1", "a", "nosuch"), 1)
	integer(db.SCard("s1"), 2)
}

func sortedSets() {
	lowest := redis.Z{Score: math.Inf(-1), Member: "c"}
	integer(db.ZAdd("z", redis.Z{Score: 1, Member: "a"}, redis.Z{Score: 2.5, Member: "b"}, lowest), 3)
	all := []redis.Z{lowest, {Score: 1, Member: "a"}, {Score: 2.5, Member: "b"}}
	equal(db.ZRangeWithScores("z", 0, -1).Val(), all)
	float(db.ZScore("z", "b"), 2.5)
	float(db.ZIncrBy("z", 2, "a"), 3)
	integer(db.ZRank("z", "a"), 2)
	texts(db.ZRangeByScore("z", redis.ZRangeBy{Min: "(2.5", Max: "+inf"}), "a")
	gives(list("c", "-inf"), "ZPOPMIN z")
	integer(db.ZCard("z"), 2)
}

func expiry() {
	must(db.Set("e", "v", 100*time.Second).Err())
	left := db.TTL("e").Val()
	equal(left == 99*time.Second || left == 100*time.Second, true)
	yes(db.Persist("e"), true)
	equal(db.TTL("e").Val(), -time.Second)
	yes(db.PExpire("e", 30*time.Millisecond), true)
	until(func() bool { reply, _ := run(db, "EXISTS", "e"); return reply == int64(0) })
	equal(db.Get("e").Err(), redis.Nil)
	equal(db.TTL("e").Val(), -2*time.Second)
}

func pipeline() {
	batch := db.Pipeline()
	defer batch.Close()
	for i := 0; i < pipelined; i++ {
		batch.IncrBy("pipelined", int64(i%7))
	}
	replies, err := batch.Exec()
	must(err)
	equal(len(replies), pipelined)
	sum := int64(0)
	for i, reply := range replies {
		sum += int64(i % 7)
		integer(reply.(*redis.IntCmd), sum)
	}
}

func transaction() {
	var incremented *redis.IntCmd
	replies, err := db.TxPipelined(func(batch *redis.Pipeline) error {
		batch.Set("t", 1, 0)
		incremented = batch.Incr("t")
		batch.LPop("t")
		return nil
	})
	refused(err, "WRONGTYPE")
	equal(len(replies), 3)
	integer(incremented, 2)
	_, err = db.TxPipelined(func(batch *redis.Pipeline) error {
		return batch.Process(redis.NewCmd("NOSUCH"))
	})
	refused(err, "EXECABORT Transaction discarded because of previous errors.")
}

func watchConflict() {
	must(db.Set("w", 1, 0).Err())
	attempts := 0
	double := func(tx *redis.Tx) error {
		attempts++
		value, err := tx.Get("w").Int64()
		must(err)
		if attempts == 1 {
			must(db.Incr("w").Err())
		}
		_, err = tx.Pipelined(func(batch *redis.Pipeline) error {
			batch.Set("w", value*2, 0)
			return nil
		})
		return err
	}
	equal(db.Watch(double, "w"), error(redis.TxFailedErr))
	text(db.Get("w"), "2")
	must(db.Watch(double, "w"))
	text(db.Get("w"), "4")
}

func message() {
	subscriber, err := db.Subscribe("news")
	must(err)
	defer subscriber.Close()
	begun, err := subscriber.Receive()
	must(err)
	equal(begun, &redis.Subscription{Kind: "subscribe", Channel: "news", Count: 1})
	integer(db.Publish("news", "a\x00b"), 1)
	received, err := subscriber.ReceiveMessage()
	must(err)
	equal(received, &redis.Message{Channel: "news", Payload: "a\x00b"})
	must(subscriber.Ping("still there"))
	pong, err := subscriber.Receive()
	must(err)
	equal(pong, &redis.Pong{Payload: "still there"})
}

func pattern() {
	subscriber, err := db.PSubscribe("n?ws.*")
	must(err)
	defer subscriber.Close()
	_, err = subscriber.Receive()
	must(err)
	integer(db.Publish("news.art", "hello"), 1)
	integer(db.Publish("nws.art", "hello"), 0)
	received, err := subscriber.ReceiveMessage()
	must(err)
	equal(received, &redis.Message{Pattern: "n?ws.*", Channel: "news.art", Payload: "hello"})
}

func work() {
	for range jobs {
		popped, err := db.BLPop(10*time.Second, "jobs").Result()
		must(err)
		must(db.RPush("done", "did-"+popped[1]).Err())
	}
}

func queue() {
	withWorker(func() {
		until(func() bool { return strings.Contains(db.Info("clients").Val(), "blocked_clients:1\r\n") })
		integer(db.RPush("jobs", "one"), 1)
		texts(db.BLPop(10*time.Second, "done"), "done", "did-one")
		must(db.RPush("jobs", "two", "three").Err())
		texts(db.BLPop(10*time.Second, "done"), "done", "did-two")
		texts(db.BLPop(10*time.Second, "done"), "done", "did-three")
	})
}

func blockingTimeout() {
	begin := time.Now()
	gives(nil, "BLPOP nosuch 0.2")
	took := time.Since(begin)
	equal(took > 190*time.Millisecond && took < 5*time.Second, true)
	gives(nil, "BRPOPLPUSH nosuch other 0.05")
}

func eval() {
	reply, err := db.Eval(script, []string{"k"}, "v").Result()
	must(err)
	equal(reply, list("v", int64(42), list(nil)))
	refused(db.Eval("return redis.error_reply('MINE it went wrong')", nil).Err(), "MINE it went wrong")
	refused(db.Eval("return +", nil).Err(), "ERR Error compiling script")
}

func evalsha() {
	sha, err := db.ScriptLoad("return ARGV[1] * 2").Result()
	must(err)
	equal(db.EvalSha(sha, nil, 21).Val(), int64(42))
	status(db.ScriptFlush(), "OK")
	refused(db.EvalSha(sha, nil, 21).Err(), "NOSCRIPT No matching script")
	// Run tries EVALSHA first, and EVAL when the server does not know the script.
	double := redis.NewScript("return ARGV[1] * 2")
	equal(double.Run(db, nil, 4).Val(), int64(8))
	equal(double.Run(db, nil, 5).Val(), int64(10))
}

func scan() {
	var pairs []interface{}
	for _, name := range scannedNames() {
		pairs = append(pairs, name, 1)
	}
	must(db.MSet(pairs...).Err())
	var found []string
	keys := db.Scan(0, "scanned:*", 100).Iterator()
	for keys.Next() {
		found = append(found, keys.Val())
	}
	must(keys.Err())
	equal(distinct(found), sorted(scannedNames()))
	_, cursor, err := db.Scan(0, "", 10).Result()
	must(err)
	equal(cursor != 0, true)
}

// go-redis 5 has no methods for streams; any command can be sent as it is.
func streams() {
	gives("1-1", "XADD x 1-1 f a")
	gives("1-2", "XADD x 1-2 f b")
	newest, err := run(db, words("XADD x * f c")...)
	must(err)
	gives("OK", "XGROUP CREATE x g 0")
	fails("BUSYGROUP", "XGROUP CREATE x g 0")
	first, second := list("1-1", list("f", "a")), list("1-2", list("f", "b"))
	gives(list(list("x", list(first, second))), "XREADGROUP GROUP g alice COUNT 2 STREAMS x >")
	gives(list(int64(2), "1-1", "1-2", list(list("alice", "2"))), "XPENDING x g")
	gives(int64(1), "XACK x g 1-1")
	gives(list(second), "XCLAIM x g bob 0 1-2")
	third := list(newest, list("f", "c"))
	gives(list(list("x", list(third))), "XREADGROUP GROUP g bob BLOCK 1000 STREAMS x >")
	gives(nil, "XREADGROUP GROUP g bob BLOCK 30 STREAMS x >")
	gives(int64(3), "XLEN x")
}

func errors() {
	must(db.Set("text", "v", 0).Err())
	refused(db.LPush("text", "x").Err(), "WRONGTYPE Operation against a key holding the wrong kind of value")
	fails("ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH a b")
	fails("ERR wrong number of arguments for 'get' command", "GET")
	fails("ERR value is not an integer or out of range", "SET text v EX nan")
}

func reconnect() {
	must(db.Set("kept", "over the restart", 0).Err())
	must(db.RPush("kept-list", "a", "b").Err())
	restart()
	// The pool replaces connections that have failed.
	until(func() bool { return db.Ping().Err() == nil })
	text(db.Get("kept"), "over the restart")
	texts(db.LRange("kept-list", 0, -1), "a", "b")
}

func main() {
	db = connected(redis.Options{Password: password})
	if isWorker() {
		work()
		os.Exit(0)
	}
	fmt.Printf("# library go-redis %s\n", libraryVersion)
	must(db.FlushAll().Err())
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
	skip("RESP3", "go-redis 5 speaks RESP2 only")
	check("errors", errors)
	check("reconnect after restart", reconnect)
	end()
}
