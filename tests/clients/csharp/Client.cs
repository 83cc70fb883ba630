// Drives a server from C# and reports every check as TAP; started as: client.exe HOST PORT PASSWORD DIRECTORY
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Text;
using System.Threading;

public static class Client
{
    private const int Pipelined = 10000;
    private const int Scanned = 1000;
    private const string Script = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}";
    private static readonly string[] Jobs = { "one", "two", "three" };

    private static string[] arguments;
    private static string host;
    private static int port;
    private static string password;
    private static Connection db;
    private static int reported;
    private static bool hasFailed;

    private static void Check(string name, Action body)
    {
        reported++;
        try
        {
            body();
            Console.WriteLine("ok {0} - {1}", reported, name);
        }
        catch (Exception error)
        {
            hasFailed = true;
            Console.WriteLine("not ok {0} - {1}\n# {2}", reported, name, error.ToString().Replace("\n", "\n# "));
        }
        Console.Out.Flush();
    }

    /// <summary>A reply as text: arrays in brackets, nothing as nil.</summary>
    private static string Show(object value)
    {
        if (value == null) return "nil";
        var values = value as object[];
        if (values != null) return "[" + string.Join(" ", values.Select(Show)) + "]";
        var error = value as RedisException;
        return error != null ? "-" + error.Message : Connection.Text(value);
    }

    private static void Equal(object expected, object actual)
    {
        if (!Equals(expected, actual))
            throw new Exception("expected " + expected + ", got " + actual);
    }

    private static void Holds(bool condition) { Equal(true, condition); }

    private static object[] Words(string line) { return line.Split(' '); }

    /// <summary>Check the reply of a command that is given as a line of words.</summary>
    private static void Gives(string expected, string line) { Equal(expected, Show(db.Run(Words(line)))); }

    private static void Fails(string prefix, Action body)
    {
        try
        {
            body();
        }
        catch (RedisException error)
        {
            Equal(prefix, error.Message.Substring(0, Math.Min(prefix.Length, error.Message.Length)));
            return;
        }
        throw new Exception("no RedisException: " + prefix);
    }

    private static void Until(Func<bool> condition)
    {
        for (var clock = Stopwatch.StartNew(); !condition(); Thread.Sleep(5))
            Holds(clock.ElapsedMilliseconds < 10000);
    }

    private static Connection Connected()
    {
        var connection = new Connection(host, port);
        if (password != "")
            connection.Run("AUTH", password);
        return connection;
    }

    private static void Connect()
    {
        string open = Environment.GetEnvironmentVariable("DISKKV_CLIENT_OPEN_PORT");
        using (var connection = new Connection(host, open == null ? port : int.Parse(open)))
        {
            Equal("PONG", Show(connection.Run("PING")));
            Equal("hello", Show(connection.Run("ECHO", "hello")));
        }
    }

    private static void Auth()
    {
        using (var connection = new Connection(host, port))
        {
            Fails("NOAUTH Authentication required.", () => connection.Run("GET", "k"));
            Equal("OK", Show(connection.Run("AUTH", password)));
            Equal("OK", Show(connection.Run("AUTH", "default", password)));
            Equal("default", Show(connection.Run("ACL", "WHOAMI")));
        }
    }

    private static void WrongPassword()
    {
        using (var connection = new Connection(host, port))
            Fails("WRONGPASS invalid username-password pair or user is disabled.",
                  () => connection.Run("AUTH", "no such password"));
    }

    private static void SelectDatabase()
    {
        Gives("OK", "SET where zero");
        Gives("OK", "SELECT 3");
        Gives("nil", "GET where");
        Gives("OK", "SET where three");
        Gives("1", "DBSIZE");
        Fails("ERR DB index is out of range", () => db.Run("SELECT", 1000));
        Gives("OK", "SELECT 0");
        Gives("zero", "GET where");
    }

    private static void Strings()
    {
        Gives("OK", "SET s value");
        Gives("value", "GET s");
        Gives("nil", "SET s other NX");
        Gives("value", "SET s other GET");
        Gives("6", "APPEND s s");
        Gives("the", "GETRANGE s 1 3");
        Gives("OK", "MSET s1 one s2 two");
        Gives("[one nil two]", "MGET s1 nosuch s2");
        Gives("3", "DEL s s1 s2 nosuch");
    }

    private static void Counters()
    {
        Gives("1", "INCR n");
        Gives("9223372036854775001", "INCRBY n 9223372036854775000");
        Fails("ERR increment or decrement would overflow", () => db.Run("INCRBY", "n", 1000));
        Gives("1", "DECRBY n 9223372036854775000");
        Gives("1.5", "INCRBYFLOAT n 0.5");
        Fails("ERR value is not an integer or out of range", () => db.Run("INCR", "n"));
    }

    private static void Binary()
    {
        byte[] all = Enumerable.Range(0, 256).Select(i => (byte)i).ToArray();
        Equal("OK", Show(db.Run("SET", all, all)));
        Holds(all.SequenceEqual((byte[])db.Run("GET", all)));
        var keys = (object[])db.Run("KEYS", "\0\u0001*");
        Holds(keys.Length == 1 && all.SequenceEqual((byte[])keys[0]));
        Equal("OK", Show(db.Run("SET", "", "")));
        Equal("", Show(db.Run("GET", "")));
        Equal(1L, db.Run("DEL", ""));
        byte[] big = Enumerable.Range(0, 1 << 20).Select(i => (byte)(i * 31 + i / 257)).ToArray();
        db.Run("SET", "big", big);
        Holds(big.SequenceEqual((byte[])db.Run("GET", "big")));
        byte[] longKey = big.Take(65536).ToArray();
        db.Run("SET", longKey, "long-key");
        Equal("long-key", Show(db.Run("GET", longKey)));
    }

    private static void Hashes()
    {
        Gives("3", "HSET h a 1 b 2 c 3");
        Gives("2", "HGET h b");
        Gives("nil", "HGET h nosuch");
        Gives("[a 1 b 2 c 3]", "HGETALL h");
        Gives("42", "HINCRBY h a 41");
        Gives("2", "HDEL h b c nosuch");
        Gives("1", "HLEN h");
    }

    private static void Lists()
    {
        Gives("3", "RPUSH l a b c");
        Gives("4", "LPUSH l z");
        Gives("[z a b c]", "LRANGE l 0 -1");
        Gives("z", "LPOP l");
        Gives("[c b]", "RPOP l 2");
        Gives("a", "LINDEX l 0");
        Gives("a", "LMOVE l l2 LEFT RIGHT");
        Gives("0", "EXISTS l");
    }

    private static void Sets()
    {
        Gives("3", "SADD s1 a b c a");
        Gives("3", "SADD s2 b c d");
        Gives("1", "SISMEMBER s1 a");
        var both = ((object[])db.Run("SINTER", "s1", "s2")).Select(Connection.Text);
        Equal("b c", string.Join(" ", both.OrderBy(member => member)));
        Gives("4", "SUNIONSTORE s3 s1 s2");
        Gives("[a]", "SDIFF s1 s2");
        Gives("1", "SREM s1 a nosuch");
        Gives("2", "SCARD s1");
    }

    private static void SortedSets()
    {
        Gives("3", "ZADD z 1 a 2.5 b -inf c");
        Gives("[c -inf a 1 b 2.5]", "ZRANGE z 0 -1 WITHSCORES");
        Gives("2.5", "ZSCORE z b");
        Gives("3", "ZINCRBY z 2 a");
        Gives("2", "ZRANK z a");
        Gives("[a]", "ZRANGEBYSCORE z (2.5 +inf");
        Gives("[c -inf]", "ZPOPMIN z");
        Gives("2", "ZCARD z");
    }

    private static void Expiry()
    {
        Gives("OK", "SET e v EX 100");
        long left = (long)db.Run("TTL", "e");
        Holds(left == 99 || left == 100);
        Gives("1", "PERSIST e");
        Gives("-1", "TTL e");
        Gives("1", "PEXPIRE e 30");
        Until(() => (long)db.Run("EXISTS", "e") == 0);
        Gives("nil", "GET e");
        Gives("-2", "TTL e");
    }

    private static void Pipeline()
    {
        for (int i = 0; i < Pipelined; i++)
            db.Send("INCRBY", "pipelined", i % 7);
        long sum = 0;
        for (int i = 0; i < Pipelined; i++)
        {
            sum += i % 7;
            Equal(sum, db.Receive());
        }
    }

    private static void Transaction()
    {
        Gives("OK", "MULTI");
        Gives("QUEUED", "SET t 1");
        Gives("QUEUED", "INCR t");
        Gives("QUEUED", "LPOP t");
        Gives("[OK 2 -WRONGTYPE Operation against a key holding the wrong kind of value]", "EXEC");
        Gives("OK", "MULTI");
        Fails("ERR unknown command", () => db.Run("NOSUCH"));
        Fails("EXECABORT Transaction discarded because of previous errors.", () => db.Run("EXEC"));
    }

    private static void WatchConflict()
    {
        using (var other = Connected())
        {
            Gives("OK", "SET w 1");
            Gives("OK", "WATCH w");
            Equal(2L, other.Run("INCR", "w"));
            Gives("OK", "MULTI");
            Gives("QUEUED", "SET w 100");
            Gives("nil", "EXEC");
            Gives("2", "GET w");
            Gives("OK", "WATCH w");
            Gives("OK", "MULTI");
            Gives("QUEUED", "SET w 100");
            Gives("[OK]", "EXEC");
        }
    }

    private static void Message()
    {
        using (var subscriber = Connected())
        {
            Equal("[subscribe news 1]", Show(subscriber.Run("SUBSCRIBE", "news")));
            Equal(1L, db.Run("PUBLISH", "news", "a\0b"));
            Equal("[message news a\0b]", Show(subscriber.Receive()));
            Equal("[unsubscribe news 0]", Show(subscriber.Run("UNSUBSCRIBE", "news")));
            Equal("PONG", Show(subscriber.Run("PING")));
        }
    }

    private static void Pattern()
    {
        using (var subscriber = Connected())
        {
            Equal("[psubscribe n?ws.* 1]", Show(subscriber.Run("PSUBSCRIBE", "n?ws.*")));
            Gives("1", "PUBLISH news.art hello");
            Gives("0", "PUBLISH nws.art hello");
            Equal("[pmessage n?ws.* news.art hello]", Show(subscriber.Receive()));
        }
    }

    private static void Work()
    {
        foreach (string _ in Jobs)
            db.Run("RPUSH", "done", "did-" + Show(((object[])db.Run("BLPOP", "jobs", 10))[1]));
    }

    private static void Queue()
    {
        var others = arguments.Take(4).Select(argument => "\"" + argument + "\"");
        string line = "\"" + Assembly.GetExecutingAssembly().Location + "\" " + string.Join(" ", others) + " worker";
        using (var worker = Process.Start(new ProcessStartInfo("mono", line) { UseShellExecute = false }))
        {
            Until(() => Show(db.Run("INFO", "clients")).Contains("blocked_clients:1\r\n"));
            Gives("1", "RPUSH jobs one");
            Gives("[done did-one]", "BLPOP done 10");
            db.Run("RPUSH", "jobs", "two", "three");
            Gives("[done did-two]", "BLPOP done 10");
            Gives("[done did-three]", "BLPOP done 10");
            Holds(worker.WaitForExit(10000));
            Equal(0, worker.ExitCode);
        }
    }

    private static void BlockingTimeout()
    {
        var clock = Stopwatch.StartNew();
        Gives("nil", "BLPOP nosuch 0.2");
        Holds(clock.ElapsedMilliseconds > 190 && clock.ElapsedMilliseconds < 5000);
        Gives("nil", "BRPOPLPUSH nosuch other 0.05");
    }

    private static void Eval()
    {
        Equal("[v 42 [nil]]", Show(db.Run("EVAL", Script, 1, "k", "v")));
        Fails("MINE it went wrong", () => db.Run("EVAL", "return redis.error_reply('MINE it went wrong')", 0));
        Fails("ERR Error compiling script", () => db.Run("EVAL", "return +", 0));
    }

    private static void EvalSha()
    {
        object sha = db.Run("SCRIPT", "LOAD", "return ARGV[1] * 2");
        Equal(42L, db.Run("EVALSHA", sha, 0, 21));
        Gives("OK", "SCRIPT FLUSH");
        Fails("NOSCRIPT No matching script", () => db.Run("EVALSHA", sha, 0, 21));
    }

    private static void Scan()
    {
        var names = Enumerable.Range(0, Scanned).Select(i => "scanned:" + i).ToList();
        foreach (string name in names)
            db.Send("SET", name, 1);
        foreach (string _ in names)
            db.Receive();
        var found = new HashSet<string>();
        string cursor = "0";
        int calls = 0;
        do
        {
            var reply = (object[])db.Run("SCAN", cursor, "MATCH", "scanned:*", "COUNT", 100);
            cursor = Show(reply[0]);
            found.UnionWith(((object[])reply[1]).Select(Connection.Text));
            calls++;
        } while (cursor != "0");
        Holds(found.SetEquals(names));
        Holds(calls > 1);
    }

    private static void Streams()
    {
        Gives("1-1", "XADD x 1-1 f a");
        Gives("1-2", "XADD x 1-2 f b");
        string newest = Show(db.Run(Words("XADD x * f c")));
        Gives("OK", "XGROUP CREATE x g 0");
        Fails("BUSYGROUP", () => db.Run(Words("XGROUP CREATE x g 0")));
        Gives("[[x [[1-1 [f a]] [1-2 [f b]]]]]", "XREADGROUP GROUP g alice COUNT 2 STREAMS x >");
        Gives("[2 1-1 1-2 [[alice 2]]]", "XPENDING x g");
        Gives("1", "XACK x g 1-1");
        Gives("[[1-2 [f b]]]", "XCLAIM x g bob 0 1-2");
        Gives("[[x [[" + newest + " [f c]]]]]", "XREADGROUP GROUP g bob BLOCK 1000 STREAMS x >");
        Gives("nil", "XREADGROUP GROUP g bob BLOCK 30 STREAMS x >");
        Gives("3", "XLEN x");
    }

    private static void Resp3()
    {
        using (var connection = Connected())
        {
            Equal(3L, ((Dictionary<string, object>)connection.Run("HELLO", 3))["proto"]);
            connection.Run("HSET", "r", "f", "v");
            Equal("v", Show(((Dictionary<string, object>)connection.Run("HGETALL", "r"))["f"]));
            connection.Run("SADD", "rs", "m");
            Holds(((HashSet<string>)connection.Run("SMEMBERS", "rs")).SetEquals(new[] { "m" }));
            connection.Run("ZADD", "rz", 1.5, "m");
            Equal(1.5, connection.Run("ZSCORE", "rz", "m"));
            Equal(true, connection.Run("EVAL", "redis.setresp(3); return true", 0));
            Equal(null, connection.Run("GET", "nosuch"));
            Equal("[subscribe pushed 1]", Show(((Push)connection.Run("SUBSCRIBE", "pushed")).Values));
            // The message to itself goes before the reply of the command that caused it, or behind it.
            connection.Send("PUBLISH", "pushed", "hello");
            object[] both = { connection.Receive(), connection.Receive() };
            Equal("[message pushed hello]", Show(both.OfType<Push>().Single().Values));
            Equal(1L, both.OfType<long>().Single());
        }
    }

    private static void Errors()
    {
        Gives("OK", "SET text v");
        Fails("WRONGTYPE Operation against a key holding the wrong kind of value", () => db.Run("LPUSH", "text", "x"));
        Fails("ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", () => db.Run("NOSUCH", "a", "b"));
        Fails("ERR wrong number of arguments for 'get' command", () => db.Run("GET"));
        Fails("ERR value is not an integer or out of range", () => db.Run("SET", "text", "v", "EX", "nan"));
    }

    private static void Reconnect()
    {
        db.Run("SET", "kept", "over the restart");
        Gives("2", "RPUSH kept-list a b");
        Console.WriteLine("# RESTART");
        Console.Out.Flush();
        Equal("restarted", Console.In.ReadLine());
        try
        {
            db.Run("PING");
            throw new Exception("a connection outlived the server");
        }
        catch (IOException)
        {
            db = Connected();
        }
        Gives("over the restart", "GET kept");
        Gives("[a b]", "LRANGE kept-list 0 -1");
    }

    public static int Main(string[] args)
    {
        arguments = args;
        host = args[0];
        port = int.Parse(args[1]);
        password = args[2];
        db = Connected();
        if (args.Length > 4 && args[4] == "worker")
        {
            Work();
            return 0;
        }
        string[] version = ((string)Type.GetType("Mono.Runtime").GetMethod("GetDisplayName",
            BindingFlags.NonPublic | BindingFlags.Static).Invoke(null, null)).Split(' ');
        Console.WriteLine("# library System.Net.Sockets (mono) " + version[0]);
        db.Run("FLUSHALL");
        Check("connect", Connect);
        Check("auth", Auth);
        Check("wrong password error", WrongPassword);
        Check("select database isolation", SelectDatabase);
        Check("strings", Strings);
        Check("counters", Counters);
        Check("binary-safe keys and values", Binary);
        Check("hashes", Hashes);
        Check("lists", Lists);
        Check("sets", Sets);
        Check("sorted sets", SortedSets);
        Check("expiry", Expiry);
        Check("pipeline of 10,000 commands", Pipeline);
        Check("MULTI/EXEC", Transaction);
        Check("WATCH conflict", WatchConflict);
        Check("publish/subscribe message", Message);
        Check("publish/subscribe pattern", Pattern);
        Check("blocking pop queue between two processes", Queue);
        Check("blocking pop timeout", BlockingTimeout);
        Check("EVAL", Eval);
        Check("EVALSHA/NOSCRIPT", EvalSha);
        Check("SCAN loop", Scan);
        Check("streams with consumer group", Streams);
        Check("RESP3", Resp3);
        Check("errors", Errors);
        Check("reconnect after restart", Reconnect);
        Console.WriteLine("1..{0}", reported);
        return hasFailed ? 1 : 0;
    }
}
