# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=False
"""The reactor's short way over plain sockets, compiled: optional, and the same as the Python code beside it.

Receiving, splitting and sending small requests is most of what the server does for a client that does not pipeline,
and through Python's socket objects half of that is overhead: a 64 KiB buffer for every read, the interpreter lock
given up and taken back around each non-blocking call, a list of tokens. `plain.py` and `short_way.py` use this module
when it could be built and their own code when not; tests run both over the same input.

`take`, `answer` and `finish` do for the most common case what the loops of `short_way.ShortWay` do for every case, and
leave all others to these. A turn serves dozens of connections with a request each, and reads a dozen attributes of
each: they are read from and written to the objects' slots, at the offsets that `bind` learned from the classes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_AsLongLong
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcmp

# With plain.py, which does not use a module with another one: counts up with every change of what Python code sees.
REVISION = 3

cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

cdef extern from *:
    """
    #include <structmember.h>

    /* Where the objects of a class have a slot; -1 for an attribute of another kind. */
    static Py_ssize_t slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type))
            return -1;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : -1;
    }
    """
    Py_ssize_t slot_offset(object descriptor)

cdef enum:
    BUFFER_BYTES = 65536
    # "$0\r\n\r\n", the shortest argument, is six bytes long.
    MAX_ARGUMENTS = 10923
    MAX_COUNT = 256
    MAX_BULK_BYTES = 16384
    NAMES = 64

cdef char buffer[BUFFER_BYTES]
cdef int starts[MAX_ARGUMENTS]
cdef int sizes[MAX_ARGUMENTS]
cdef int counts[MAX_ARGUMENTS]
cdef list names = [b""] * NAMES


cdef inline object argument(const char *data, int at):
    return PyBytes_FromStringAndSize(data + starts[at], sizes[at])


cdef inline object name_of(const char *data, int at):
    """A command's name: the object that the last request with that name had, whose hash is known already."""
    cdef int size = sizes[at]
    cdef const char *start = data + starts[at]
    if size == 0:
        return b""
    cdef int slot = (size * 7 + start[0] + start[size - 1]) & (NAMES - 1)
    found = names[slot]
    if PyBytes_GET_SIZE(found) == size and memcmp(PyBytes_AS_STRING(found), start, size) == 0:
        return found
    found = PyBytes_FromStringAndSize(start, size)
    if size <= 32:
        names[slot] = found
    return found


cdef int number(const char *data, int at, int end, int limit, int *value) noexcept:
    """Read "digits CR LF" from `at`: the position behind it, or -1 for anything but a plain number <= limit."""
    cdef int result = 0
    cdef int begin = at
    while at < end and 48 <= data[at] <= 57:
        result = result * 10 + data[at] - 48
        if result > limit:
            return -1
        at += 1
    if at == begin or (data[begin] == 48 and at > begin + 1) or at + 1 >= end:
        return -1
    if data[at] != 13 or data[at + 1] != 10:
        return -1
    value[0] = result
    return at + 2


cdef int scan(const char *data, int end) noexcept:
    """Find every argument; how many requests there are, or -1 if they are not all whole and plain."""
    cdef int at = 0
    cdef int requests = 0
    cdef int argument_at = 0
    cdef int count
    cdef int size
    while at < end:
        if data[at] != 42:
            return -1
        at = number(data, at + 1, end, MAX_COUNT, &count)
        if at < 0 or count == 0:
            return -1
        counts[requests] = count
        requests += 1
        while count:
            if at >= end or data[at] != 36:
                return -1
            at = number(data, at + 1, end, MAX_BULK_BYTES, &size)
            if at < 0 or at + size + 2 > end or data[at + size] != 13 or data[at + size + 1] != 10:
                return -1
            starts[argument_at] = at
            sizes[argument_at] = size
            argument_at += 1
            at += size + 2
            count -= 1
    return requests


cdef bint is_alike(const char *data, int requests) noexcept:
    """Whether all requests have the first one's name and number of arguments."""
    cdef int count = counts[0]
    cdef int at = count
    cdef int index
    for index in range(1, requests):
        if counts[index] != count or sizes[at] != sizes[0]:
            return False
        if memcmp(data + starts[at], data + starts[0], sizes[0]) != 0:
            return False
        at += count
    return True


cdef list columns_of(const char *data, int requests):
    cdef int count = counts[0]
    cdef list columns = []
    cdef list column
    cdef int place
    cdef int index
    for place in range(count):
        if place == 0:
            columns.append([name_of(data, 0)] * requests)
            continue
        column = PyList_New(requests)
        for index in range(requests):
            found = argument(data, index * count + place)
            Py_INCREF(found)
            PyList_SET_ITEM(column, index, found)
        columns.append(column)
    return columns


cdef list rows_of(const char *data, int requests):
    cdef list rows = PyList_New(requests)
    cdef list argv
    cdef int at = 0
    cdef int index
    cdef int place
    for index in range(requests):
        argv = PyList_New(counts[index])
        for place in range(counts[index]):
            found = argument(data, at) if place else name_of(data, at)
            Py_INCREF(found)
            PyList_SET_ITEM(argv, place, found)
            at += 1
        Py_INCREF(argv)
        PyList_SET_ITEM(rows, index, argv)
    return rows


cdef object received(const char *data, Py_ssize_t size, int requests):
    """What `receive` answers when a socket has this data, in which `scan` found so many requests."""
    if requests <= 0:
        return PyBytes_FromStringAndSize(data, size)
    if requests > 1 and is_alike(data, requests):
        return size, None, columns_of(data, requests)
    return size, rows_of(data, requests), None


def parse(bytes data not None):
    """What `receive` answers when a socket has `data`, of 64 KiB at most."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if size > BUFFER_BYTES:
        raise ValueError("too long")
    return received(PyBytes_AS_STRING(data), size, scan(PyBytes_AS_STRING(data), <int>size))


def receive(int fd):
    """Take what a non-blocking socket has (at most 64 KiB).

    (size, requests, None) for whole, plain requests; (size, None, columns) when there are several and all have the
    same name and number of arguments; the bytes when they are anything else (empty at the end of the stream and after
    an error); None when there is nothing.
    """
    cdef ssize_t size = recv(fd, buffer, BUFFER_BYTES, MSG_DONTWAIT)
    if size < 0:
        return None if errno == EAGAIN or errno == EINTR else b""
    return received(buffer, size, scan(buffer, <int>size))


def transmit(int fd, data):
    """Send as much of `data` (bytes or a subclass) as the socket takes at once; how many bytes, 0 after an error."""
    if not PyBytes_Check(data):
        raise TypeError("bytes expected")
    cdef ssize_t sent = send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL)
    return sent if sent > 0 else 0


cdef int EPOLLIN = 1
# As in diskkv/commands/runs.py.
cdef int ANY = -1

cdef enum Slot:
    ACTIVE_MS
    AWAITS_ROWS
    BLOCKED
    CLOSING
    COMMANDS_RUN
    DB
    FAST
    FD
    IN_TURN
    IS_IDLE
    IS_RAW
    LAST_REQUEST
    NEXT_REQUEST
    OUT
    PAUSED
    RECEIVED_BYTES
    REQUESTS
    RESP
    SENT_BYTES
    STREAM
    UNSENT_BYTES
    CONNECTION_SLOTS
    RUN_ARGC = CONNECTION_SLOTS
    RUN_DATABASE
    RUN_PIPELINES
    RUN_RESP
    RUN_ROWS
    RUN_SINGLES
    ALL_SLOTS

cdef Py_ssize_t offsets[ALL_SLOTS]
cdef type connection_class = None
cdef type run_class = None


def bind(type of_connections not None, type of_runs not None):
    """Learn where the objects of these classes have their slots."""
    global connection_class, run_class
    names = (
        "active_ms awaits_rows blocked closing commands_run db fast fd in_turn is_idle is_raw last_request next_request"
        " out paused received_bytes requests resp sent_bytes stream unsent_bytes"
    ).split()
    found = [slot_offset(getattr(of_connections, name)) for name in names]
    found += [slot_offset(getattr(of_runs, name)) for name in ("argc", "database", "pipelines", "resp", "rows", "singles")]
    if len(found) != <int>ALL_SLOTS or min(found) < 0:
        raise TypeError("not the expected slots")
    cdef int slot
    for slot in range(<int>ALL_SLOTS):
        offsets[slot] = found[slot]
    connection_class = of_connections
    run_class = of_runs


cdef inline object load(object target, int slot):
    cdef PyObject *value = (<PyObject **>(<char *><PyObject *>target + offsets[slot]))[0]
    if value is NULL:
        raise AttributeError("an empty slot")
    return <object>value


cdef inline bint holds(object target, int slot, object value) noexcept:
    """Whether a slot has this very object, which for small integers tells whether it has this value."""
    return (<PyObject **>(<char *><PyObject *>target + offsets[slot]))[0] is <PyObject *>value


cdef inline void store(object target, int slot, object value) noexcept:
    cdef PyObject **place = <PyObject **>(<char *><PyObject *>target + offsets[slot])
    cdef PyObject *before = place[0]
    Py_INCREF(value)
    place[0] = <PyObject *>value
    Py_XDECREF(before)


cdef inline void add(object target, int slot, long long count) except *:
    store(target, slot, PyLong_AsLongLong(load(target, slot)) + count)


cdef list request_of(const char *data):
    cdef list argv = PyList_New(counts[0])
    cdef int place
    for place in range(counts[0]):
        found = argument(data, place) if place else name_of(data, 0)
        Py_INCREF(found)
        PyList_SET_ITEM(argv, place, found)
    return argv


cdef object entry_for(connection, name):
    """The command that needs no checks for this client, else None."""
    fast = load(connection, FAST)
    if type(fast) is not dict:
        return None
    cdef PyObject *found = PyDict_GetItemWithError(fast, name)
    return None if found is NULL else <object>found


cdef bint suits(run, connection, Py_ssize_t argc) except -1:
    """Whether requests of a connection, with so many arguments, can be part of a run."""
    return (
        PyLong_AsLongLong(load(run, RUN_ARGC)) == argc
        and holds(run, RUN_DATABASE, load(connection, DB))
        and holds(run, RUN_RESP, load(connection, RESP))
    )


cdef bint join_single(short_way, dict runs, connection, list argv) except -1:
    """ShortWay.join_single, without its first lookup."""
    entry = entry_for(connection, argv[0])
    if entry is None:
        return False
    cdef PyObject *found = PyDict_GetItemWithError(runs, entry)
    cdef int run_argc
    if found is NULL:
        run_argc = entry.run_argc
        if run_argc != len(argv) and run_argc != ANY:
            return False
        runs[entry] = connection
        return True
    run = <object>found
    if type(run) is not run_class:
        return short_way.join_single(entry, connection)
    if not suits(run, connection, len(argv)):
        return False
    (<list>load(run, RUN_SINGLES)).append(connection)
    (<list>load(run, RUN_ROWS)).append(argv)
    return True


cdef bint join_pipeline(short_way, dict runs, connection, list columns) except -1:
    """ShortWay.join_pipeline, likewise."""
    entry = entry_for(connection, (<list>columns[0])[0])
    if entry is None:
        return False
    cdef PyObject *found = PyDict_GetItemWithError(runs, entry)
    if found is NULL or type(<object>found) is not run_class:
        return short_way.join_pipeline(entry, connection, columns)
    run = <object>found
    if not suits(run, connection, len(columns)):
        return False
    (<list>load(run, RUN_PIPELINES)).append((connection, columns))
    return True


def take(short_way, list events not None, Py_ssize_t at, dict connections not None, long long full_at):
    """ShortWay.take."""
    stats = short_way.instance.stats
    cdef list work = short_way.round
    cdef dict runs = short_way.runs
    now_ms = short_way.engine.now_ms
    cdef long long total = stats.input_bytes
    cdef PyObject *found
    cdef tuple event
    cdef list requests
    cdef ssize_t size
    cdef int count
    while at < len(events) and total <= full_at:
        event = events[at]
        found = PyDict_GetItemWithError(connections, event[0])
        if found is NULL or event[1] != EPOLLIN or type(<object>found) is not connection_class:
            break
        connection = <object>found
        if not holds(connection, IS_IDLE, True) or not holds(connection, IS_RAW, True):
            break
        at += 1
        size = recv(PyLong_AsLongLong(event[0]), buffer, BUFFER_BYTES, MSG_DONTWAIT)
        if size < 0 and (errno == EAGAIN or errno == EINTR):
            continue
        count = scan(buffer, <int>size) if size > 0 else 0
        if count == 1:
            requests = [request_of(buffer)]
            store(connection, REQUESTS, requests)
            if not join_single(short_way, runs, connection, requests[0]):
                store(connection, NEXT_REQUEST, 0)
                work.append((connection, requests, 0, 1))
        else:
            taken = received(buffer, size, count) if size > 0 else b""
            if type(taken) is bytes or taken[2] is None or not join_pipeline(short_way, runs, connection, taken[2]):
                stats.input_bytes = total
                short_way.join(connection, taken)
                total = stats.input_bytes
                continue
        total += size
        add(connection, RECEIVED_BYTES, size)
        store(connection, ACTIVE_MS, now_ms)
        store(connection, IN_TURN, True)
    stats.input_bytes = total
    return at


def answer(run, list replies not None, list answered not None):
    """ShortWay._answer."""
    cdef list singles = run.singles
    cdef list columns
    cdef list out
    cdef Py_ssize_t at
    for at in range(len(singles)):
        connection = singles[at]
        if type(connection) is connection_class:
            (<list>load(connection, OUT)).append(replies[at])
            store(connection, NEXT_REQUEST, 1)
            answered.append((connection, load(connection, REQUESTS), 0, 1))
        else:
            connection.out.append(replies[at])
            connection.next_request = 1
            answered.append((connection, connection.requests, 0, 1))
    at = len(singles)
    for connection, columns in run.pipelines:
        count = len(<list>columns[0])
        out = connection.out
        out += replies[at : at + count]
        at += count
        connection.commands_run += count - 1
        requests = columns[:1]
        connection.requests = requests
        connection.next_request = 1
        answered.append((connection, requests, 0, 1))


cdef bint is_common(connection) noexcept:
    """Whether nothing is under way on a connection but the requests of this turn."""
    return (
        type(connection) is connection_class
        and holds(connection, IS_IDLE, True)
        and holds(connection, IS_RAW, True)
        and holds(connection, CLOSING, False)
        and holds(connection, BLOCKED, None)
        and holds(connection, AWAITS_ROWS, False)
        and holds(connection, PAUSED, False)
        and holds(connection, STREAM, None)
        and holds(connection, UNSENT_BYTES, 0)
    )


def finish(list work not None, list active not None, list no_requests not None):
    """As ShortWay.finish for the most common case; answers how many bytes were sent and the other connections' work."""
    cdef long long output_bytes = 0
    cdef list others = []
    cdef list requests
    cdef list out
    cdef tuple item
    cdef Py_ssize_t at
    cdef Py_ssize_t began_at
    cdef ssize_t sent
    for item in work:
        connection = item[0]
        if not is_common(connection):
            others.append(item)
            continue
        requests = item[1]
        began_at = item[2]
        at = load(connection, NEXT_REQUEST)
        out = load(connection, OUT)
        if at == began_at or at != len(requests) or not out:
            others.append(item)
            continue
        add(connection, COMMANDS_RUN, at - began_at)
        store(connection, LAST_REQUEST, (<list>requests[at - 1])[0])
        found = out[0] if len(out) == 1 else b"".join(out)
        sent = send(
            PyLong_AsLongLong(load(connection, FD)),
            PyBytes_AS_STRING(found),
            PyBytes_GET_SIZE(found),
            MSG_DONTWAIT | MSG_NOSIGNAL,
        )
        if sent == PyBytes_GET_SIZE(found):
            out.clear()
            output_bytes += sent
            add(connection, SENT_BYTES, sent)
            # An idle connection must not keep the arguments of its last requests.
            store(connection, REQUESTS, no_requests)
            store(connection, IN_TURN, False)
        else:
            # Nothing or only a part was taken: the rest is for the general way.
            out[:] = [found[max(sent, 0) :]]
            store(connection, IS_IDLE, False)
            active.append(connection)
    return output_bytes, others
