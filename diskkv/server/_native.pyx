# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=False
"""The reactor's short way over plain sockets, compiled: optional, and the same as the Python code beside it.

Receiving, splitting and sending small requests is most of what the server does for a client that does not pipeline,
and through Python's socket objects half of that is overhead: a 64 KiB buffer for every read, the interpreter lock
given up and taken back around each non-blocking call, a list of tokens. `reactor.py` uses this module when it could be
built and its own code when not; tests run both over the same input.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.ref cimport Py_INCREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcmp

cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

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


cdef object parsed(const char *data, int size):
    cdef int requests = scan(data, size)
    if requests <= 0:
        return None
    if requests > 1 and is_alike(data, requests):
        return size, None, columns_of(data, requests)
    return size, rows_of(data, requests), None


def parse(bytes data not None):
    """What `receive` answers when a socket has `data`, of 64 KiB at most."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if size > BUFFER_BYTES:
        raise ValueError("too long")
    found = parsed(PyBytes_AS_STRING(data), <int>size)
    return data if found is None else found


def receive(int fd):
    """Take what a non-blocking socket has (at most 64 KiB).

    (size, requests, None) for whole, plain requests; (size, None, columns) when there are several and all have the
    same name and number of arguments; the bytes when they are anything else (empty at the end of the stream and after
    an error); None when there is nothing.
    """
    cdef ssize_t size = recv(fd, buffer, BUFFER_BYTES, MSG_DONTWAIT)
    if size < 0:
        return None if errno == EAGAIN or errno == EINTR else b""
    found = parsed(buffer, <int>size) if size else None
    return PyBytes_FromStringAndSize(buffer, size) if found is None else found


def transmit(int fd, data):
    """Send as much of `data` (bytes or a subclass) as the socket takes at once; how many bytes, 0 after an error."""
    if not PyBytes_Check(data):
        raise TypeError("bytes expected")
    cdef ssize_t sent = send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL)
    return sent if sent > 0 else 0
