// Drives a server through Jedis and reports every check as TAP; started as: Client HOST PORT PASSWORD DIRECTORY

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import redis.clients.jedis.BinaryJedisPubSub;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPool;
import redis.clients.jedis.JedisPoolConfig;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.Protocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.ScanParams;
import redis.clients.jedis.ScanResult;
import redis.clients.jedis.StreamEntry;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.Tuple;
import redis.clients.jedis.commands.ProtocolCommand;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;
import redis.clients.jedis.exceptions.JedisNoScriptException;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.util.SafeEncoder;

public final class Client {
    private static final int PIPELINED = 10_000;
    private static final int SCANNED = 1000;
    private static final int TIMEOUT_MS = 15_000;
    private static final List<String> JOBS = List.of("one", "two", "three");
    private static final String SCRIPT =
            "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}";

    private static String host;
    private static int port;
    private static String password;
    private static String[] arguments;
    private static Jedis db;

    private static int reported;
    private static boolean hasFailed;

    private interface Body {
        void run() throws Exception;
    }

    private static void check(String name, Body body) {
        reported++;
        try {
            body.run();
            System.out.printf("ok %d - %s%n", reported, name);
        } catch (Exception | AssertionError error) {
            hasFailed = true;
            System.out.printf("not ok %d - %s%n# %s%n", reported, name, error.toString().replace("\n", "\n# "));
            for (StackTraceElement element : error.getStackTrace()) {
                System.out.printf("#     at %s%n", element);
            }
        }
    }

    private static void equal(Object expected, Object actual) {
        if (!Objects.deepEquals(expected, actual)) {
            throw new AssertionError("expected " + expected + ", got " + actual);
        }
    }

    private static void holds(boolean condition) {
        equal(true, condition);
    }

    private static void refused(String prefix, Body body) throws Exception {
        try {
            body.run();
        } catch (JedisDataException error) {
            if (!error.getMessage().startsWith(prefix)) {
                throw error;
            }
            return;
        }
        throw new AssertionError("no JedisDataException: " + prefix);
    }

    private static void until(BooleanSupplier condition) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
        while (!condition.getAsBoolean()) {
            holds(System.nanoTime() < deadline);
            Thread.sleep(5);
        }
    }

    private static Jedis plain(int toPort) {
        return new Jedis(host, toPort, TIMEOUT_MS);
    }

    private static Jedis connected() {
        Jedis jedis = plain(port);
        if (!password.isEmpty()) {
            jedis.auth(password);
        }
        return jedis;
    }

    /** Sends any command, for those that Jedis 3.3 has no method for. */
    private static Object run(Jedis jedis, String line) {
        String[] words = line.split(" ");
        ProtocolCommand command = () -> SafeEncoder.encode(words[0]);
        return text(jedis.sendCommand(command, Arrays.copyOfRange(words, 1, words.length)));
    }

    private static Object text(Object reply) {
        if (reply instanceof byte[]) {
            return SafeEncoder.encode((byte[]) reply);
        }
        if (reply instanceof List) {
            List<Object> texts = new ArrayList<>();
            ((List<?>) reply).forEach(element -> texts.add(text(element)));
            return texts;
        }
        return reply;
    }

    private static void connect() {
        int openPort = Integer.parseInt(System.getenv().getOrDefault("DISKKV_CLIENT_OPEN_PORT", String.valueOf(port)));
        try (Jedis jedis = plain(openPort)) {
            equal("PONG", jedis.ping());
            equal("hello", jedis.echo("hello"));
        }
        try (Jedis jedis = new Jedis("redis://" + host + ":" + openPort + "/2")) {
            holds(run(jedis, "CLIENT INFO").toString().contains(" db=2 "));
        }
    }

    private static void auth() throws Exception {
        try (Jedis jedis = plain(port)) {
            refused("NOAUTH Authentication required.", () -> jedis.get("k"));
            equal("OK", jedis.auth(password));
            equal("OK", jedis.auth("default", password));
            equal("default", jedis.aclWhoAmI());
        }
    }

    private static void wrongPassword() throws Exception {
        try (Jedis jedis = plain(port)) {
            String message = "WRONGPASS invalid username-password pair or user is disabled.";
            refused(message, () -> jedis.auth("no such password"));
        }
    }

    private static void selectDatabase() throws Exception {
        db.set("where", "zero");
        try (Jedis other = connected()) {
            equal("OK", other.select(3));
            equal(null, other.get("where"));
            other.set("where", "three");
            equal(1L, other.dbSize());
            refused("ERR DB index is out of range", () -> other.select(1000));
        }
        equal("zero", db.get("where"));
    }

    private static void strings() {
        equal("OK", db.set("s", "value"));
        equal("value", db.get("s"));
        equal(null, db.set("s", "other", SetParams.setParams().nx()));
        equal("value", db.getSet("s", "other"));
        equal(6L, db.append("s", "s"));
        equal("the", db.getrange("s", 1, 3));
        equal("OK", db.mset("s1", "one", "s2", "two"));
        equal(Arrays.asList("one", null, "two"), db.mget("s1", "nosuch", "s2"));
        equal(3L, db.del("s", "s1", "s2", "nosuch"));
    }

    private static void counters() throws Exception {
        equal(1L, db.incr("n"));
        equal(9223372036854775001L, db.incrBy("n", 9223372036854775000L));
        refused("ERR increment or decrement would overflow", () -> db.incrBy("n", 1000));
        equal(1L, db.decrBy("n", 9223372036854775000L));
        equal(1.5, db.incrByFloat("n", 0.5));
        refused("ERR value is not an integer or out of range", () -> db.incr("n"));
    }

    private static void binary() {
        byte[] all = new byte[256];
        for (int i = 0; i < all.length; i++) {
            all[i] = (byte) i;
        }
        equal("OK", db.set(all, all));
        equal(all, db.get(all));
        Set<byte[]> keys = db.keys(new byte[] {0, 1, '*'});
        equal(1, keys.size());
        equal(all, keys.iterator().next());
        equal("OK", db.set("", ""));
        equal("", db.get(""));
        equal(1L, db.del(""));
        byte[] big = new byte[1 << 20];
        for (int i = 0; i < big.length; i++) {
            big[i] = (byte) (i * 31 + i / 257);
        }
        db.set("big".getBytes(StandardCharsets.UTF_8), big);
        holds(Arrays.equals(big, db.get("big".getBytes(StandardCharsets.UTF_8))));
        byte[] longKey = Arrays.copyOf(big, 65536);
        db.set(longKey, "long-key".getBytes(StandardCharsets.UTF_8));
        equal("long-key".getBytes(StandardCharsets.UTF_8), db.get(longKey));
    }

    private static void hashes() {
        equal(3L, db.hset("h", Map.of("a", "1", "b", "2", "c", "3")));
        equal("2", db.hget("h", "b"));
        equal(null, db.hget("h", "nosuch"));
        equal(Map.of("a", "1", "b", "2", "c", "3"), db.hgetAll("h"));
        equal(42L, db.hincrBy("h", "a", 41));
        equal(2L, db.hdel("h", "b", "c", "nosuch"));
        equal(1L, db.hlen("h"));
    }

    private static void lists() {
        equal(3L, db.rpush("l", "a", "b", "c"));
        equal(4L, db.lpush("l", "z"));
        equal(List.of("z", "a", "b", "c"), db.lrange("l", 0, -1));
        equal("z", db.lpop("l"));
        equal(List.of("c", "b"), run(db, "RPOP l 2"));
        equal("a", db.lindex("l", 0));
        equal("a", run(db, "LMOVE l l2 LEFT RIGHT"));
        equal(false, db.exists("l"));
    }

    private static void sets() {
        equal(3L, db.sadd("s1", "a", "b", "c", "a"));
        equal(3L, db.sadd("s2", "b", "c", "d"));
        equal(true, db.sismember("s1", "a"));
        equal(Set.of("b", "c"), db.sinter("s1", "s2"));
        equal(4L, db.sunionstore("s3", "s1", "s2"));
        equal(Set.of("a"), db.sdiff("s1", "s2"));
        equal(1L, db.srem("s1", "a", "nosuch"));
        equal(2L, db.scard("s1"));
    }

    private static void sortedSets() {
        equal(3L, db.zadd("z", Map.of("a", 1.0, "b", 2.5, "c", Double.NEGATIVE_INFINITY)));
        List<Tuple> all = new ArrayList<>(db.zrangeWithScores("z", 0, -1));
        equal(List.of(new Tuple("c", Double.NEGATIVE_INFINITY), new Tuple("a", 1.0), new Tuple("b", 2.5)), all);
        equal(2.5, db.zscore("z", "b"));
        equal(3.0, db.zincrby("z", 2, "a"));
        equal(2L, db.zrank("z", "a"));
        equal(new LinkedHashSet<>(List.of("a")), db.zrangeByScore("z", "(2.5", "+inf"));
        equal(new Tuple("c", Double.NEGATIVE_INFINITY), db.zpopmin("z"));
        equal(2L, db.zcard("z"));
    }

    private static void expiry() throws Exception {
        db.set("e", "v", SetParams.setParams().ex(100));
        long left = db.ttl("e");
        holds(left == 99 || left == 100);
        equal(1L, db.persist("e"));
        equal(-1L, db.ttl("e"));
        equal(1L, db.pexpire("e", 30));
        until(() -> !db.exists("e"));
        equal(null, db.get("e"));
        equal(-2L, db.ttl("e"));
    }

    private static void pipeline() {
        Pipeline batch = db.pipelined();
        List<Response<Long>> replies = new ArrayList<>();
        for (int i = 0; i < PIPELINED; i++) {
            replies.add(batch.incrBy("pipelined", i % 7));
        }
        batch.sync();
        long sum = 0;
        for (int i = 0; i < PIPELINED; i++) {
            sum += i % 7;
            equal(sum, replies.get(i).get());
        }
    }

    private static void transaction() throws Exception {
        Transaction batch = db.multi();
        batch.set("t", "1");
        Response<Long> incremented = batch.incr("t");
        Response<String> popped = batch.lpop("t");
        List<Object> replies = batch.exec();
        equal(3, replies.size());
        equal(2L, incremented.get());
        refused("WRONGTYPE", popped::get);
        equal("OK", run(db, "MULTI"));
        refused("ERR unknown command", () -> run(db, "NOSUCH"));
        refused("EXECABORT Transaction discarded because of previous errors.", () -> run(db, "EXEC"));
    }

    private static void watchConflict() {
        try (Jedis other = connected()) {
            db.set("w", "1");
            db.watch("w");
            other.incr("w");
            Transaction batch = db.multi();
            batch.set("w", "100");
            equal(null, batch.exec());
            equal("2", db.get("w"));
            db.watch("w");
            batch = db.multi();
            batch.set("w", "100");
            equal(List.of("OK"), batch.exec());
        }
    }

    /** Runs in a thread of its own, as subscribe() only returns when nothing is subscribed any more. */
    private static CompletableFuture<Void> aside(Body body) {
        return CompletableFuture.runAsync(
                () -> {
                    try {
                        body.run();
                    } catch (Exception error) {
                        throw new IllegalStateException(error);
                    }
                });
    }

    private static void message() throws Exception {
        List<String> received = Collections.synchronizedList(new ArrayList<>());
        BinaryJedisPubSub listener =
                new BinaryJedisPubSub() {
                    @Override
                    public void onMessage(byte[] channel, byte[] message) {
                        received.add(SafeEncoder.encode(channel));
                        received.add(SafeEncoder.encode(message));
                        unsubscribe();
                    }
                };
        try (Jedis subscriber = connected()) {
            CompletableFuture<Void> ended = aside(() -> subscriber.subscribe(listener, SafeEncoder.encode("news")));
            until(() -> db.pubsubNumSub("news").get("news").equals("1"));
            equal(1L, db.publish("news", "a\0b"));
            ended.get(10, TimeUnit.SECONDS);
            equal(List.of("news", "a\0b"), received);
            equal("PONG", subscriber.ping());
        }
    }

    private static void pattern() throws Exception {
        List<String> received = Collections.synchronizedList(new ArrayList<>());
        JedisPubSub listener =
                new JedisPubSub() {
                    @Override
                    public void onPMessage(String pattern, String channel, String message) {
                        received.addAll(List.of(pattern, channel, message));
                        punsubscribe();
                    }
                };
        try (Jedis subscriber = connected()) {
            CompletableFuture<Void> ended = aside(() -> subscriber.psubscribe(listener, "n?ws.*"));
            until(() -> db.pubsubNumPat() == 1);
            equal(0L, db.publish("nws.art", "hello"));
            equal(1L, db.publish("news.art", "hello"));
            ended.get(10, TimeUnit.SECONDS);
            equal(List.of("n?ws.*", "news.art", "hello"), received);
        }
    }

    private static void work() {
        for (int i = 0; i < JOBS.size(); i++) {
            db.rpush("done", "did-" + db.blpop(10, "jobs").get(1));
        }
    }

    private static void queue() throws Exception {
        List<String> command = new ArrayList<>(List.of(ProcessHandle.current().info().command().orElse("java")));
        command.addAll(List.of("-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"), "Client"));
        command.addAll(Arrays.asList(arguments).subList(0, 4));
        command.add("worker");
        Process worker = new ProcessBuilder(command).inheritIO().redirectInput(ProcessBuilder.Redirect.PIPE).start();
        try {
            until(() -> db.info("clients").contains("blocked_clients:1\r\n"));
            equal(1L, db.rpush("jobs", "one"));
            equal(List.of("done", "did-one"), db.blpop(10, "done"));
            db.rpush("jobs", "two", "three");
            equal(List.of("done", "did-two"), db.blpop(10, "done"));
            equal(List.of("done", "did-three"), db.blpop(10, "done"));
            holds(worker.waitFor(10, TimeUnit.SECONDS));
            equal(0, worker.exitValue());
        } finally {
            worker.destroyForcibly();
        }
    }

    private static void blockingTimeout() {
        long begin = System.nanoTime();
        equal(null, run(db, "BLPOP nosuch 0.2"));
        long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
        holds(tookMs > 190 && tookMs < 5000);
        equal(null, run(db, "BRPOPLPUSH nosuch other 0.05"));
    }

    private static void eval() throws Exception {
        equal(Arrays.asList("v", 42L, Arrays.asList((Object) null)), db.eval(SCRIPT, List.of("k"), List.of("v")));
        refused("MINE it went wrong", () -> db.eval("return redis.error_reply('MINE it went wrong')"));
        refused("ERR Error compiling script", () -> db.eval("return +"));
    }

    private static void evalsha() {
        String sha = db.scriptLoad("return ARGV[1] * 2");
        equal(42L, db.evalsha(sha, 0, "21"));
        equal("OK", db.scriptFlush());
        try {
            db.evalsha(sha, 0, "21");
        } catch (JedisNoScriptException error) {
            holds(error.getMessage().startsWith("NOSCRIPT No matching script"));
            return;
        }
        throw new AssertionError("no JedisNoScriptException");
    }

    private static void scan() {
        Set<String> names = new HashSet<>();
        List<String> pairs = new ArrayList<>();
        for (int i = 0; i < SCANNED; i++) {
            names.add("scanned:" + i);
            pairs.addAll(List.of("scanned:" + i, "1"));
        }
        db.mset(pairs.toArray(String[]::new));
        Set<String> found = new HashSet<>();
        ScanParams params = new ScanParams().match("scanned:*").count(100);
        String cursor = ScanParams.SCAN_POINTER_START;
        int calls = 0;
        do {
            ScanResult<String> result = db.scan(cursor, params);
            found.addAll(result.getResult());
            cursor = result.getCursor();
            calls++;
        } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
        equal(names, found);
        holds(calls > 1);
    }

    private static Map.Entry<String, StreamEntryID> unseen() {
        return Map.entry("x", StreamEntryID.UNRECEIVED_ENTRY);
    }

    @SuppressWarnings("unchecked")
    private static List<StreamEntry> readGroup(String consumer, int count, long blockMs) {
        List<Map.Entry<String, List<StreamEntry>>> read =
                db.xreadGroup("g", consumer, count, blockMs, false, unseen());
        return read == null || read.isEmpty() ? List.of() : read.get(0).getValue();
    }

    private static void streams() throws Exception {
        equal("1-1", db.xadd("x", new StreamEntryID(1, 1), Map.of("f", "a")).toString());
        db.xadd("x", new StreamEntryID(1, 2), Map.of("f", "b"));
        StreamEntryID newest = db.xadd("x", StreamEntryID.NEW_ENTRY, Map.of("f", "c"));
        equal("OK", db.xgroupCreate("x", "g", new StreamEntryID(0, 0), false));
        refused("BUSYGROUP", () -> db.xgroupCreate("x", "g", new StreamEntryID(0, 0), false));
        List<StreamEntry> read = readGroup("alice", 2, 0);
        equal(2, read.size());
        equal(new StreamEntryID(1, 1), read.get(0).getID());
        equal(Map.of("f", "b"), read.get(1).getFields());
        equal(2, db.xpending("x", "g", null, null, 10, "alice").size());
        equal(1L, db.xack("x", "g", new StreamEntryID(1, 1)));
        List<StreamEntry> claimed = db.xclaim("x", "g", "bob", 0, 0, 0, false, new StreamEntryID(1, 2));
        equal(new StreamEntryID(1, 2), claimed.get(0).getID());
        equal(newest, readGroup("bob", 10, 1000).get(0).getID());
        equal(List.of(), readGroup("bob", 10, 30));
        equal(3L, db.xlen("x"));
    }

    private static void errors() throws Exception {
        db.set("text", "v");
        String message = "WRONGTYPE Operation against a key holding the wrong kind of value";
        refused(message, () -> db.lpush("text", "x"));
        String unknown = "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ";
        refused(unknown, () -> run(db, "NOSUCH a b"));
        refused("ERR wrong number of arguments for 'get' command", () -> db.sendCommand(Protocol.Command.GET));
        refused("ERR value is not an integer or out of range", () -> run(db, "SET text v EX nan"));
    }

    private static void reconnect() throws Exception {
        JedisPoolConfig config = new JedisPoolConfig();
        config.setTestOnBorrow(true);
        config.setJmxEnabled(false);
        try (JedisPool pool = new JedisPool(config, host, port, TIMEOUT_MS, password.isEmpty() ? null : password)) {
            try (Jedis jedis = pool.getResource()) {
                jedis.set("kept", "over the restart");
                jedis.rpush("kept-list", "a", "b");
            }
            System.out.println("# RESTART");
            equal("restarted", new BufferedReader(new InputStreamReader(System.in)).readLine());
            // The pool tests the connection that it kept, and replaces it.
            try (Jedis jedis = pool.getResource()) {
                equal("over the restart", jedis.get("kept"));
                equal(List.of("a", "b"), jedis.lrange("kept-list", 0, -1));
            }
        }
        try {
            db.ping();
        } catch (JedisException error) {
            return;
        }
        throw new AssertionError("a connection outlived the server");
    }

    private static String version() throws Exception {
        Properties properties = new Properties();
        properties.load(Client.class.getResourceAsStream("/META-INF/maven/redis.clients/jedis/pom.properties"));
        return properties.getProperty("version");
    }

    public static void main(String[] args) throws Exception {
        arguments = args;
        host = args[0];
        port = Integer.parseInt(args[1]);
        password = args[2];
        db = connected();
        if (args.length > 4 && args[4].equals("worker")) {
            work();
            return;
        }
        System.out.println("# library Jedis " + version());
        db.flushAll();
        check("connect", Client::connect);
        check("auth", Client::auth);
        check("wrong password error", Client::wrongPassword);
        check("select database isolation", Client::selectDatabase);
        check("strings", Client::strings);
        check("counters", Client::counters);
        check("binary-safe keys and values", Client::binary);
        check("hashes", Client::hashes);
        check("lists", Client::lists);
        check("sets", Client::sets);
        check("sorted sets", Client::sortedSets);
        check("expiry", Client::expiry);
        check("pipeline of 10,000 commands", Client::pipeline);
        check("MULTI/EXEC", Client::transaction);
        check("WATCH conflict", Client::watchConflict);
        check("publish/subscribe message", Client::message);
        check("publish/subscribe pattern", Client::pattern);
        check("blocking pop queue between two processes", Client::queue);
        check("blocking pop timeout", Client::blockingTimeout);
        check("EVAL", Client::eval);
        check("EVALSHA/NOSCRIPT", Client::evalsha);
        check("SCAN loop", Client::scan);
        check("streams with consumer group", Client::streams);
        System.out.printf("ok %d - RESP3 # SKIP Jedis 3 speaks RESP2 only%n", ++reported);
        check("errors", Client::errors);
        check("reconnect after restart", Client::reconnect);
        System.out.printf("1..%d%n", reported);
        System.exit(hasFailed ? 1 : 0);
    }
}
