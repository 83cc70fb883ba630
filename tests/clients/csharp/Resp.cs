// A small client of the Redis protocol on System.Net.Sockets: RESP2 and RESP3, as a C# library would speak it.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Text;

/// <summary>The server answered with an error.</summary>
public sealed class RedisException : Exception
{
    public RedisException(string message) : base(message) { }
}

/// <summary>A message that the server sent by itself, in RESP3.</summary>
public sealed class Push
{
    public object[] Values;
}

/// <summary>A simple string, as opposed to the bytes of a value.</summary>
public sealed class Status
{
    public string Text;
    public override string ToString() { return Text; }
}

/// <summary>One connection. Values are byte arrays, long, double, bool, Status, arrays, dictionaries, sets or null.</summary>
public sealed class Connection : IDisposable
{
    private readonly TcpClient socket;
    private readonly Stream input;
    private readonly Stream output;

    public Connection(string host, int port)
    {
        socket = new TcpClient(host, port) { NoDelay = true, ReceiveTimeout = 15000, SendTimeout = 15000 };
        input = new BufferedStream(socket.GetStream(), 1 << 16);
        output = new BufferedStream(socket.GetStream(), 1 << 16);
    }

    public void Dispose() { socket.Close(); }

    /// <summary>Queue a command without sending it yet; strings and byte arrays go as they are.</summary>
    public void Send(params object[] arguments)
    {
        Write("*" + arguments.Length + "\r\n");
        foreach (object argument in arguments)
        {
            byte[] bytes = argument as byte[] ?? Encoding.UTF8.GetBytes(Convert.ToString(argument, CultureInfo.InvariantCulture));
            Write("$" + bytes.Length + "\r\n");
            output.Write(bytes, 0, bytes.Length);
            Write("\r\n");
        }
    }

    private void Write(string text)
    {
        byte[] bytes = Encoding.ASCII.GetBytes(text);
        output.Write(bytes, 0, bytes.Length);
    }

    /// <summary>The reply of the oldest command; an error inside an array is an element, one by itself is thrown.</summary>
    public object Receive()
    {
        output.Flush();
        object reply = ReadValue();
        if (reply is RedisException)
            throw (RedisException)reply;
        return reply;
    }

    public object Run(params object[] arguments)
    {
        Send(arguments);
        return Receive();
    }

    private object ReadValue()
    {
        string line = ReadLine();
        string rest = line.Substring(1);
        switch (line[0])
        {
            case '+': return new Status { Text = rest };
            case '-': return new RedisException(rest);
            case ':': return long.Parse(rest, CultureInfo.InvariantCulture);
            case '$': return rest == "-1" ? null : ReadBytes(int.Parse(rest));
            case '*': return rest == "-1" ? null : ReadValues(int.Parse(rest));
            case '_': return null;
            case '#': return rest == "t";
            case ',': return Number(rest);
            case '~': return new HashSet<string>(ReadValues(int.Parse(rest)).Select(Text));
            case '>': return new Push { Values = ReadValues(int.Parse(rest)) };
            case '=': return ReadBytes(int.Parse(rest)).Skip(4).ToArray();
            case '%':
                object[] pairs = ReadValues(2 * int.Parse(rest));
                var map = new Dictionary<string, object>();
                for (int i = 0; i < pairs.Length; i += 2)
                    map[Text(pairs[i])] = pairs[i + 1];
                return map;
        }
        throw new InvalidDataException("a reply begins with " + line);
    }

    private object[] ReadValues(int count)
    {
        var values = new object[count];
        for (int i = 0; i < count; i++)
            values[i] = ReadValue();
        return values;
    }

    private static double Number(string text)
    {
        if (text == "inf") return double.PositiveInfinity;
        if (text == "-inf") return double.NegativeInfinity;
        return double.Parse(text, CultureInfo.InvariantCulture);
    }

    public static string Text(object value)
    {
        var bytes = value as byte[];
        return bytes != null ? Encoding.UTF8.GetString(bytes) : Convert.ToString(value, CultureInfo.InvariantCulture);
    }

    private byte[] ReadBytes(int size)
    {
        var bytes = new byte[size + 2];
        for (int at = 0; at < bytes.Length; )
        {
            int count = input.Read(bytes, at, bytes.Length - at);
            if (count == 0)
                throw new EndOfStreamException("the server closed the connection");
            at += count;
        }
        Array.Resize(ref bytes, size);
        return bytes;
    }

    private string ReadLine()
    {
        var line = new StringBuilder();
        for (int value = input.ReadByte(); value != '\r'; value = input.ReadByte())
        {
            if (value < 0)
                throw new EndOfStreamException("the server closed the connection");
            line.Append((char)value);
        }
        input.ReadByte();
        return line.ToString();
    }
}
